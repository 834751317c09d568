"""Tasks from Hugging Face `datasets`: a YAML list of mappings from columns to input and output."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hyperpeft.config import ConfigError, typed
from hyperpeft.corpora.base import Corpus
from hyperpeft.tasks import Task, TaskError, as_examples


@dataclass
class Mapped:
    """One task of a mapping file: which data set to load and which columns are the input and the output.

    `input` is a column, or a template over columns such as "{premise} || {hypothesis}". `labels` names the values of
    an integer output column in order; a ClassLabel column has its own names.
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

    Relative `data_files` are taken relative to the mapping file. Only data is loaded, never a loading script.
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
        except (OSError, ValueError, OmegaConfBaseException) as error:
            raise TaskError(f"{self.path} cannot be read as YAML: {error}") from error
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise TaskError(f"{self.path}: a YAML list with one mapping a task is needed.")
        try:
            return [Mapped(**typed(Mapped, entry, name=f"{self.path}[{i}]")) for i, entry in enumerate(entries)]
        except ConfigError as error:
            raise TaskError(str(error)) from error

    def _task(self, mapped: Mapped) -> Task:
        rows = self._rows(mapped)
        names = mapped.labels or _class_names(rows, mapped.output)
        pairs = [self._pair(row, mapped, names) for row in islice(rows, mapped.max_examples)]
        where = f"{self.path}, task {mapped.name!r}: rows"
        return Task(
            name=mapped.name,
            descriptions=tuple(mapped.descriptions),
            examples=as_examples(pairs, where=where),
            labels=dict.fromkeys(names or (), ""),
            family=mapped.family,
            metric=mapped.metric or ("accuracy" if names else "exact_match"),
            source=mapped.source,
            licence=mapped.licence,
        )

    def _rows(self, mapped: Mapped) -> datasets.Dataset:
        arguments = {"split": "train", **mapped.load}
        if "data_files" in arguments:
            arguments["data_files"] = self._beside(arguments["data_files"])
        try:
            rows = datasets.load_dataset(**arguments)
        except (OSError, ValueError, TypeError) as error:
            raise TaskError(f"{self.path}, task {mapped.name!r}: {arguments} cannot be loaded: {error}") from error
        return rows

    def _beside(self, files: Any) -> Any:
        if isinstance(files, str):
            return str(self.path.parent / files)
        if isinstance(files, Mapping):
            return {key: self._beside(value) for key, value in files.items()}
        return [self._beside(file) for file in files]

    def _pair(self, row: Mapping[str, Any], mapped: Mapped, names: Sequence[str] | None) -> tuple[str, Any]:
        try:
            text = mapped.input.format_map(row) if "{" in mapped.input else row[mapped.input]
            output = row[mapped.output]
        except KeyError as error:
            raise TaskError(f"{self.path}, task {mapped.name!r}: no column {error}; there is {sorted(row)}.") from error
        return text, names[output] if names and isinstance(output, int) else output


def _class_names(rows: datasets.Dataset, column: str) -> list[str] | None:
    feature = rows.features.get(column)
    return list(feature.names) if isinstance(feature, datasets.ClassLabel) else None
