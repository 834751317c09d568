"""Examples and inputs from JSONL, CSV, TSV and text files, or from standard input; mistakes are named by line."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hyperpeft.config import did_you_mean
from hyperpeft.tasks import Example, TaskError, as_example

STDIN = "-"
Rows = Iterator[tuple[int, dict[str, Any]]]


@dataclass(frozen=True)
class Columns:
    """Which columns hold the input and the output, and the format where the file's name does not say it."""

    input: str = "input"
    output: str = "output"
    file_format: str | None = None


def read_examples(source: str, columns: Columns) -> list[Example]:
    """The examples of a file with named columns; `-` is standard input (JSONL unless said otherwise).

    Raises TaskError naming file, line and column.
    """
    examples = []
    for where, row in _rows(source, columns.file_format, "jsonl"):
        pair = [_value(row, column, where) for column in (columns.input, columns.output)]
        examples.append(as_example(pair, where=where))
    if not examples:
        raise TaskError(f"{_name(source)} holds no examples.")
    return examples


def read_inputs(source: str, columns: Columns) -> list[str]:
    """The inputs of a file; `-` is standard input (a text a line unless said otherwise)."""
    inputs = []
    for where, row in _rows(source, columns.file_format, "txt"):
        text = _value(row, columns.input if _format(source, columns.file_format, "txt") != "txt" else "text", where)
        if not isinstance(text, str) or not text.strip():
            raise TaskError(f"{where}: the input is {text!r}: a text is needed.")
        inputs.append(text)
    if not inputs:
        raise TaskError(f"{_name(source)} holds no inputs.")
    return inputs


def _rows(source: str, file_format: str | None, of_stdin: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(`file:line`, row) pairs."""
    reader = FORMATS[_format(source, file_format, of_stdin)]
    text = _text(source)
    number = 1
    try:
        for number, row in reader(text):
            yield f"{_name(source)}:{number}", row
    except _LineError as error:
        raise TaskError(f"{_name(source)}:{error.line}: {error}") from error


def _format(source: str, given: str | None, of_stdin: str) -> str:
    chosen = given or (of_stdin if source == STDIN else Path(source).suffix.lstrip(".").lower())
    if chosen not in FORMATS:
        known = f"files of the format {chosen!r} are not read" if chosen else "its name does not say its format"
        raise TaskError(f"{_name(source)}: {known}. {did_you_mean(chosen, FORMATS)} Say which it is: --file-format.")
    return chosen


def _text(source: str) -> str:
    try:
        data = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
    except OSError as error:
        raise TaskError(f"{source} cannot be read: {error.strerror}.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TaskError(
            f"{_name(source)}:{line}: the byte 0x{data[error.start]:02x} is not UTF-8. Save the file as UTF-8."
        ) from error


class _LineError(ValueError):
    """What is wrong in a line."""

    def __init__(self, line: int, reason: str):
        super().__init__(reason)
        self.line = line


def _jsonl(text: str) -> Rows:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines() would cut at U+2028 in a text
        if line.strip():
            yield number, _object(line, number)


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise _LineError(number, f"not JSON: {error.msg} (column {error.colno}).") from error
    if not isinstance(value, dict):
        raise _LineError(number, f"a JSON object a line is needed, this is a {type(value).__name__}.")
    return value


def _csv(text: str) -> Rows:
    return _table(text, delimiter=",", strict=True)


def _tsv(text: str) -> Rows:
    return _table(text, delimiter="\t", quoting=csv.QUOTE_NONE)


def _table(text: str, **dialect: Any) -> Rows:
    reader = csv.DictReader(io.StringIO(text, newline=""), **dialect)
    try:
        names = reader.fieldnames or []
        if len(set(names)) < len(names):
            raise _LineError(1, f"a column is named twice: {names}.")
        for row in reader:
            if None in row or None in row.values():
                raise _LineError(reader.line_num, f"the first line names {len(names)} columns, this has not as many.")
            yield reader.line_num, row
    except csv.Error as error:
        raise _LineError(reader.line_num, f"malformed: {error}.") from error


def _txt(text: str) -> Rows:
    lines = enumerate(text.split("\n"), start=1)
    return ((number, {"text": line.removesuffix("\r")}) for number, line in lines if line.strip())


FORMATS: Mapping[str, Callable[[str], Rows]] = MappingProxyType(
    {"jsonl": _jsonl, "csv": _csv, "tsv": _tsv, "txt": _txt}
)


def _value(row: Mapping[str, Any], column: str, where: str) -> Any:
    if column not in row:
        raise TaskError(
            f"{where}: there is no column {column!r}. {did_you_mean(column, map(str, row))} "
            "Choose with --input-column and --output-column."
        )
    return row[column]


def _name(source: str) -> str:
    return "standard input" if source == STDIN else source
