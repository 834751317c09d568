"""Tasks from Hugging Face `datasets`: a YAML list of mappings from columns to input and output."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hyperpeft.config import ConfigError, typed
from hyperpeft.corpora.base import Corpus, known_metric
from hyperpeft.tasks import Task, TaskError, as_examples


@dataclass
class Mapped:
    """One task of a mapping file: which data set to load and which columns are the input and the output.

    `input` is a column, or a template over columns such as "{premise} || {hypothesis}". `labels` names the values of
    an integer output column in order; a ClassLabel column has its own names. Of more than `max_examples` rows a fixed
    random part is taken, since many data sets are sorted by label.
    """

    name: str
    load: dict[str, Any]
    input: str
    output: str
    descriptions: list[str]
    family: str = ""
    metric: str | None = None
    labels: list[str] | None = None
    max_examples: int = 500
    source: str = ""
    licence: str = ""


class HfDatasets(Corpus):
    """The tasks of a YAML mapping file; each `load` entry holds the arguments of `datasets.load_dataset`.

    The `data_files` of a file format (`path: csv`, `json`, `parquet`, ...) are taken relative to the mapping file. Only
    data is loaded, never a loading script.
    """

    def __init__(self, path: str, splits: str | None = None):
        self.path = Path(path)
        self.splits = splits

    def read(self) -> Iterator[Task]:
        """Yield one task a mapping, in the order of the file."""
        return map(self._task, self._mappings())

    def _mappings(self) -> list[Mapped]:
        try:
            entries = OmegaConf.to_container(OmegaConf.load(self.path), resolve=True)
        except (OSError, ValueError, OmegaConfBaseException, yaml.YAMLError) as error:
            raise TaskError(f"{self.path} cannot be read as YAML: {' '.join(str(error).split())}") from error
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise TaskError(f"{self.path}: a YAML list with one mapping a task is needed.")
        try:
            return [Mapped(**typed(Mapped, entry, name=f"{self.path}[{i}]")) for i, entry in enumerate(entries)]
        except ConfigError as error:
            raise TaskError(str(error)) from error

    def _task(self, mapped: Mapped) -> Task:
        try:
            return self._read_task(mapped)
        except TaskError as error:
            raise TaskError(f"{self.path}, task {mapped.name!r}: {error}") from error

    def _read_task(self, mapped: Mapped) -> Task:
        rows = self._rows(mapped.load)
        names = mapped.labels or _class_names(rows, mapped.output)
        pairs = [_pair(row, mapped, names) for row in islice(rows.shuffle(seed=0), mapped.max_examples)]
        return Task(
            name=mapped.name,
            descriptions=tuple(mapped.descriptions),
            examples=as_examples(pairs, where="rows"),
            labels=dict.fromkeys(names or (), ""),
            family=mapped.family,
            metric=known_metric(mapped.metric or ("accuracy" if names else "exact_match")),
            source=mapped.source,
            licence=mapped.licence,
        )

    def _rows(self, load: Mapping[str, Any]) -> datasets.Dataset:
        arguments = {"split": "train", **load}
        if "data_files" in arguments and "/" not in str(arguments.get("path")):
            arguments["data_files"] = self._beside(arguments["data_files"])
        try:
            return datasets.load_dataset(**arguments)
        except (OSError, ValueError, TypeError, datasets.exceptions.DatasetsError) as error:
            raise TaskError(f"{arguments} cannot be loaded: {error.__cause__ or error}") from error

    def _beside(self, files: Any) -> Any:
        if isinstance(files, str):
            return str(self.path.parent / files)
        if isinstance(files, Mapping):
            return {key: self._beside(value) for key, value in files.items()}
        return [self._beside(file) for file in files]


def _pair(row: Mapping[str, Any], mapped: Mapped, names: Sequence[str] | None) -> tuple[Any, Any]:
    try:
        text = mapped.input.format_map(row) if "{" in mapped.input else row[mapped.input]
        output = row[mapped.output]
    except KeyError as error:
        raise TaskError(f"no column {error}; there is {sorted(row)}.") from error
    except ValueError as error:
        raise TaskError(f"input {mapped.input!r} is no template over columns: {error}.") from error
    return text, _named(output, names) if isinstance(output, int) else output


def _named(output: int, names: Sequence[str] | None) -> str:
    if names is None:
        raise TaskError(f"an output is the number {output}: name the numbers 0, 1, ... with labels: [...].")
    if not 0 <= output < len(names):
        raise TaskError(f"an output is the number {output}, but there are {len(names)} labels: {list(names)}.")
    return names[output]


def _class_names(rows: datasets.Dataset, column: str) -> list[str] | None:
    feature = rows.features.get(column)
    return list(feature.names) if isinstance(feature, datasets.ClassLabel) else None
