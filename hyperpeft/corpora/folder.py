"""Our own folder format: `corpus.yaml` and one YAML file a task. See tasks/README.md."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hyperpeft.config import did_you_mean
from hyperpeft.corpora.base import Corpus, known_metric
from hyperpeft.tasks import Example, Task, TaskError, as_example, as_examples

FIELDS = ("name", "family", "descriptions", "metric", "labels", "source", "licence", "examples")
VIEW = ("file", "input", "output", "codes")


class Folder(Corpus):
    """A folder of task files. `splits` defaults to the `splits` entry of its corpus.yaml (relative to the folder)."""

    def __init__(self, path: str, splits: str | None = None):
        self.path = Path(path)
        manifest = self.path / "corpus.yaml"
        if not manifest.is_file():
            raise TaskError(
                f"{self.path} is no task folder: it has no corpus.yaml. See tasks/README.md for the format."
            )
        settings = _mapping(_load_yaml(manifest), str(manifest))
        if settings.get("format") != "folder":
            raise TaskError(f"{manifest}: format is {settings.get('format')!r}; this reader takes 'folder'.")
        own = settings.get("splits")
        self.splits = splits or (str(self.path / _text(own, f"{manifest}: splits")) if own else None)

    def read(self) -> Iterator[Task]:
        """Yield the tasks of every `*.yaml` file in order of file name."""
        files = [file for file in sorted(self.path.glob("*.yaml")) if file.name != "corpus.yaml"]
        if not files:
            raise TaskError(f"{self.path} holds no task files (*.yaml).")
        return map(read_task, files)


def read_task(file: Path) -> Task:
    """The task in one YAML file. Raises TaskError with file and field (and line, where the YAML is malformed)."""
    fields = _mapping(_load_yaml(file), str(file))
    _check_keys(fields, FIELDS, ("name", "descriptions", "examples"), str(file))
    labels = _labels(fields.get("labels") or {}, f"{file}: labels")
    place = f"{file}: descriptions"
    descriptions = tuple(_text(item, place) for item in _list(fields["descriptions"], place))
    examples = _examples(fields["examples"], file)
    name, family, source, licence = (
        _text(fields.get(key, ""), f"{file}: {key}") for key in ("name", "family", "source", "licence")
    )
    try:
        return Task(
            name=name,
            family=family,
            source=source,
            licence=licence,
            descriptions=descriptions,
            examples=examples,
            labels=labels,
            metric=known_metric(fields.get("metric", "accuracy" if labels else "exact_match")),
        )
    except TaskError as error:
        raise TaskError(f"{file}: {error}") from error


def _check_keys(fields: Mapping[Any, Any], known: Sequence[str], needed: Sequence[str], where: str) -> None:
    for key in fields:
        if key not in known:
            raise TaskError(f"{where}: unknown field {key!r}. {did_you_mean(str(key), known)}")
    missing = [key for key in needed if key not in fields]
    if missing:
        raise TaskError(f"{where}: the field {missing[0]!r} is missing.")


def _labels(value: object, where: str) -> dict[str, str]:
    if isinstance(value, list):
        return {_text(label, where): "" for label in value}
    described = _mapping(value, where)
    return {_text(label, where): _text(text or "", f"{where}.{label}") for label, text in described.items()}


def _examples(value: object, file: Path) -> tuple[Example, ...]:
    if isinstance(value, Mapping):
        return _view(value, file)
    return as_examples(_list(value, f"{file}: examples"), where=f"{file}: examples")


def _view(view: Mapping[Any, Any], file: Path) -> tuple[Example, ...]:
    """Examples read from columns of a JSONL file beside the task, outputs renamed by `codes` where given."""
    where = f"{file}: examples"
    _check_keys(view, VIEW, VIEW[:3], where)
    rows, *columns = (_text(view[key], f"{where}.{key}") for key in VIEW[:3])
    codes = {key: _text(code, f"{where}.codes.{key}") for key, code in _mapping(view.get("codes") or {}, where).items()}
    found = (_row(row, columns, f"{line} (for {file.name})") for line, row in read_jsonl(file.parent / rows))
    if not codes:
        return tuple(found)
    return tuple(Example(example.input, _code(example.output, codes, where)) for example in found)


def _row(row: Mapping[str, Any], columns: Sequence[str], where: str) -> Example:
    for column in columns:
        if column not in row:
            raise TaskError(f"{where}: no column {column!r}; the row has {sorted(row)}.")
    return as_example([row[column] for column in columns], where=where)


def _code(output: str, codes: Mapping[str, str], where: str) -> str:
    if output not in codes:
        raise TaskError(f"{where}.codes has no code for the output {output!r}; it has {sorted(map(str, codes))}.")
    return codes[output]


def read_jsonl(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) for each non-empty line of a JSONL file; `place` is `file:line` for errors."""
    for number, line in enumerate(_read_text(file).split("\n"), start=1):  # splitlines() would cut at U+2028 in a text
        if line.strip():
            yield f"{file}:{number}", _json_object(line, f"{file}:{number}")


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise TaskError(f"{where}: not JSON: {error.msg} (column {error.colno}).") from error
    if not isinstance(value, dict):
        raise TaskError(f"{where}: a JSON object a line is needed, this is a {type(value).__name__}.")
    return value


def _load_yaml(file: Path) -> object:
    try:
        return yaml.load(_read_text(file), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise TaskError(f"{file}: malformed YAML: {' '.join(str(error).split())}") from error


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{file} cannot be read as UTF-8 text: {error}") from error


def _mapping(value: object, where: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise TaskError(f"{where}: a mapping is needed, this is a {type(value).__name__}.")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise TaskError(f"{where} must be a list, it is a {type(value).__name__}.")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise TaskError(f"{where} holds {value!r}, of type {type(value).__name__}: put it in quotes.")
    return value
