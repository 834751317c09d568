"""Our own folder format: `corpus.yaml` and one YAML file a task. See tasks/README.md."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from hyperpeft.config import did_you_mean
from hyperpeft.corpora.base import Corpus
from hyperpeft.metrics import METRICS
from hyperpeft.tasks import Example, Task, TaskError, as_examples

FIELDS = ("name", "family", "descriptions", "metric", "labels", "source", "licence", "examples")


class Folder(Corpus):
    """A folder of task files. `splits` defaults to the `splits` entry of its corpus.yaml (relative to the folder)."""

    def __init__(self, path: str, splits: str | None = None):
        self.path = Path(path)
        manifest = self.path / "corpus.yaml"
        if not manifest.is_file():
            raise TaskError(
                f"{self.path} is no task folder: it has no corpus.yaml. See tasks/README.md for the format."
            )
        settings = _mapping(_load_yaml(manifest), manifest)
        if settings.get("format") != "folder":
            raise TaskError(f"{manifest}: format is {settings.get('format')!r}; this reader takes 'folder'.")
        own = settings.get("splits")
        self.splits = splits or (str(self.path / own) if own else None)

    def read(self) -> Iterator[Task]:
        """Yield the tasks of every `*.yaml` file in order of file name."""
        files = [file for file in sorted(self.path.glob("*.yaml")) if file.name != "corpus.yaml"]
        if not files:
            raise TaskError(f"{self.path} holds no task files (*.yaml).")
        return map(read_task, files)


def read_task(file: Path) -> Task:
    """The task in one YAML file. Raises TaskError with file and field (and line, where the YAML is malformed)."""
    fields = _mapping(_load_yaml(file), file)
    for key in fields:
        if key not in FIELDS:
            raise TaskError(f"{file}: unknown field {key!r}. {did_you_mean(str(key), FIELDS)}")
    for key in ("name", "descriptions", "examples"):
        if key not in fields:
            raise TaskError(f"{file}: the field {key!r} is missing.")
    labels = {_text(k, file, "labels"): _text(v or "", file, f"labels.{k}") for k, v in _labels(fields, file).items()}
    metric = fields.get("metric", "accuracy" if labels else "exact_match")
    if metric not in METRICS:
        raise TaskError(f"{file}: metric {metric!r} does not exist. {did_you_mean(str(metric), METRICS)}")
    descriptions = tuple(
        _text(item, file, "descriptions") for item in _list(fields["descriptions"], file, "descriptions")
    )
    try:
        return Task(
            name=_text(fields["name"], file, "name"),
            descriptions=descriptions,
            examples=_examples(fields["examples"], file),
            labels=labels,
            family=_text(fields.get("family", ""), file, "family"),
            metric=metric,
            source=_text(fields.get("source", ""), file, "source"),
            licence=_text(fields.get("licence", ""), file, "licence"),
        )
    except TaskError as error:
        raise TaskError(f"{file}: {error}") from error


def _examples(value: object, file: Path) -> tuple[Example, ...]:
    if isinstance(value, Mapping):
        return _view(value, file)
    return as_examples(_list(value, file, "examples"))


def _view(view: Mapping[str, Any], file: Path) -> tuple[Example, ...]:
    """Examples read from columns of a JSONL file beside the task, outputs renamed by `codes` where given."""
    for key in ("file", "input", "output"):
        if key not in view:
            raise TaskError(f"{file}: examples has no {key!r}: give {{file, input, output}} or a list of pairs.")
    codes = view.get("codes")
    examples = []
    for where, row in read_jsonl(file.parent / view["file"]):
        try:
            output = codes[row[view["output"]]] if codes else row[view["output"]]
            examples.append((row[view["input"]], output))
        except KeyError as error:
            raise TaskError(f"{where}: no {error} for task file {file.name}; the row has {sorted(row)}.") from error
    return as_examples(examples, where=f"{view['file']} row ")


def read_jsonl(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) for each non-empty line of a JSONL file; `place` is `file:line` for errors."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{file} cannot be read as UTF-8 text: {error}") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"{file}:{number}", _json_object(line, f"{file}:{number}")


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise TaskError(f"{where}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise TaskError(f"{where}: a JSON object a line is needed, this is a {type(value).__name__}.")
    return value


def _load_yaml(file: Path) -> object:
    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise TaskError(f"{file}: malformed YAML: {' '.join(str(error).split())}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{file} cannot be read as UTF-8 text: {error}") from error


def _labels(fields: Mapping[str, Any], file: Path) -> Mapping[object, Any]:
    labels = fields.get("labels") or {}
    if isinstance(labels, list):
        return dict.fromkeys(labels, "")
    return _mapping(labels, file)


def _mapping(value: object, file: Path) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise TaskError(f"{file}: a mapping of fields is needed, this is a {type(value).__name__}.")
    return value


def _list(value: object, file: Path, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise TaskError(f"{file}: {field} must be a list, it is a {type(value).__name__}.")
    return value


def _text(value: object, file: Path, field: str) -> str:
    if not isinstance(value, str):
        raise TaskError(f"{file}: {field} holds {value!r}, a {type(value).__name__}: put it in quotes.")
    return value
