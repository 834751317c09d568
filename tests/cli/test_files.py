"""Examples files: what is read, and what is said about what cannot be."""

import io
from pathlib import Path

import pytest

from hyperpeft.cli.files import Columns, read_examples, read_inputs
from hyperpeft.tasks import Example, TaskError

EXPECTED = [Example('naïve, "quoted"', "yes"), Example("two  words", "no")]
FILES = {
    "a.jsonl": '{"input": "naïve, \\"quoted\\"", "output": "yes", "id": 1}\n\n{"output": "no", "input": "two  words"}',
    "a.csv": 'id,input,output\n1,"naïve, ""quoted""",yes\n2,two  words,no\n',
    "a.tsv": 'output\tinput\nyes\tnaïve, "quoted"\nno\ttwo  words\n',
}


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", sorted(FILES))
def test_every_format_gives_the_same_examples(tmp_path: Path, name: str, bom: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(bom + FILES[name].encode())
    assert read_examples(str(file), Columns()) == EXPECTED
    assert read_inputs(str(file), Columns()) == [example.input for example in EXPECTED]


def test_a_quoted_line_break_belongs_to_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"one\ntwo",x\n', encoding="utf-8")
    assert read_examples(str(tmp_path / "a.csv"), Columns("text", "label")) == [Example("one\ntwo", "x")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"input,output\na,b\n\xff\xfe,c\n", r"a\.csv:3: the byte 0xff is not UTF-8"),
        ("a.jsonl", b'{"input": "a", "output": "\xe9"}\n', r"a\.jsonl:1: the byte 0xe9 is not UTF-8"),
        (
            "a.csv",
            b"inputs,output\na,b\n",
            r"a\.csv:2: there is no column 'input'\. Did you mean 'inputs'.*--input-column",
        ),
        ("a.jsonl", b'{"input": "a", "output": "b"}\n{"input": "a"}\n', r"a\.jsonl:2: there is no column 'output'"),
        ("a.jsonl", b'{"input": "a", "output": "b"}\n\nx\n', r"a\.jsonl:3: not JSON: Expecting value \(column 1\)"),
        ("a.jsonl", b'["a", "b"]\n', r"a\.jsonl:1: a JSON object a line is needed, this is a list"),
        ("a.jsonl", b'{"input": "a", "output": 1}\n', r"a\.jsonl:1: the output is 1, of type int"),
        ("a.csv", b"input,output\na,b\n,c\n", r"a\.csv:3: the input is empty"),
        ("a.csv", b"input,output\na,b\nc\n", r"a\.csv:3: the first line names 2 columns, this has not as many"),
        ("a.csv", b"input,output\na,b,c\n", r"a\.csv:2: the first line names 2 columns"),
        ("a.csv", b'input,output\n"a,b\n', r"a\.csv:\d: malformed: unexpected end of data"),
        ("a.csv", b"input,input\na,b\n", r"a\.csv:1: a column is named twice"),
        ("a.csv", b"input,output\n", r"a\.csv holds no examples"),
        ("a.jsonl", b"", r"a\.jsonl holds no examples"),
        ("a", b"", r"a: its name does not say its format\. There is: 'csv', .*--file-format"),
        ("a.xlsx", b"", r"a\.xlsx: files of the format 'xlsx' are not read.*--file-format"),
    ],
)
def test_what_is_wrong_is_named_by_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=message):
        read_examples(str(tmp_path / name), Columns())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"nowhere\.csv cannot be read: No such file"):
        read_examples(str(tmp_path / "nowhere.csv"), Columns())


def test_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"input": 5}\n')))
    with pytest.raises(TaskError, match=r"standard input:1: the input is 5: a text is needed"):
        read_inputs("-", Columns(file_format="jsonl"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    with pytest.raises(TaskError, match="standard input holds no inputs"):
        read_inputs("-", Columns())
