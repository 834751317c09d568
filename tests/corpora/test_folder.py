"""Our own folder format: what is read, and errors that name file, line and field."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hyperpeft.config import ConfigError
from hyperpeft.corpora import CORPORA, Folder, open_corpora
from hyperpeft.corpora.folder import read_jsonl, read_task
from hyperpeft.tasks import Example, TaskError

TASK = """
name: colors
family: things
descriptions: ["Say the colour.", "What colour is it?"]
metric: macro_f1
labels: {"green": "like grass", "red": ""}
source: "written here"
licence: CC0
examples:
  - ["grass", "green"]
  - {input: "blood", output: "red"}
"""
VIEW = """
name: view
descriptions: ["Urgent?"]
examples: {file: rows.jsonl, input: text, output: urgent, codes: {"yes": "1", "no": "2"}}
"""
ROWS = '{"text": "fire!", "urgent": "yes", "other": 3}\n\n{"text": "line\u2028break\u0085here", "urgent": "no"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus.yaml").write_text("format: folder\nsplits: ../splits.yaml\n")
    (tmp_path / "b.yaml").write_text(TASK)
    (tmp_path / "a.yaml").write_text(VIEW)
    (tmp_path / "rows.jsonl").write_text(ROWS, encoding="utf-8")
    return tmp_path


def file_with(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "task.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_tasks_come_in_order_of_file_name_each_time(folder: Path) -> None:
    corpus = Folder(str(folder))
    assert [task.name for task in corpus.read()] == ["view", "colors"]
    assert list(corpus.read()) == list(corpus.read())


def test_every_field_arrives(folder: Path) -> None:
    task = read_task(folder / "b.yaml")
    assert (task.name, task.family, task.metric, task.source, task.licence) == (
        "colors",
        "things",
        "macro_f1",
        "written here",
        "CC0",
    )
    assert task.descriptions == ("Say the colour.", "What colour is it?")
    assert task.labels == {"green": "like grass", "red": ""}
    assert task.examples == (Example("grass", "green"), Example("blood", "red"))


def test_a_view_takes_columns_and_renames_outputs(folder: Path) -> None:
    task = read_task(folder / "a.yaml")
    assert task.examples == (Example("fire!", "1"), Example("line\u2028break\u0085here", "2"))
    (folder / "a.yaml").write_text(VIEW.split(", codes")[0] + "}")
    assert [example.output for example in read_task(folder / "a.yaml").examples] == ["yes", "no"]


@pytest.mark.parametrize(
    ("labels", "expected", "metric"),
    [
        ("", {}, "exact_match"),
        ("labels: [a, b]", {"a": "", "b": ""}, "accuracy"),
        ("labels: {a: first, b: }", {"a": "first", "b": ""}, "accuracy"),
    ],
)
def test_labels_are_a_list_or_a_mapping_and_decide_the_default_metric(
    labels: str, expected: dict[str, str], metric: str, tmp_path: Path
) -> None:
    file = file_with(tmp_path, f"name: t\ndescriptions: [d]\n{labels}\nexamples: [[x, a], [y, b]]")
    task = read_task(file)
    assert (task.labels, task.metric) == (expected, metric)
    assert (task.family, task.source, task.licence) == ("", "", "")


def test_splits_of_the_manifest_are_relative_to_the_folder_and_can_be_replaced(folder: Path) -> None:
    assert Folder(str(folder)).splits == str(folder / "../splits.yaml")
    assert Folder(str(folder), splits="mine.yaml").splits == "mine.yaml"
    (folder / "corpus.yaml").write_text("format: folder\n")
    assert Folder(str(folder)).splits is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name: colors", ""), "the field 'name' is missing"),
        (('descriptions: ["Say the colour.", "What colour is it?"]', ""), "the field 'descriptions' is missing"),
        (("family:", "famliy:"), r"unknown field 'famliy'. Did you mean 'family'\? There is: "),
        (("macro_f1", "macro_f"), r"metric 'macro_f' does not exist. Did you mean 'macro_f1'\? There is: 'accuracy'"),
        (("macro_f1", "[accuracy]"), r"metric \['accuracy'\] does not exist"),
        (('["Say the colour.", "What colour is it?"]', "Say it."), "descriptions must be a list, it is a str"),
        (('"Say the colour."', "12"), "descriptions holds 12, of type int: put it in quotes"),
        (("name: colors", "name: 2026-01-01"), r"name holds datetime.date.*: put it in quotes"),
        (("CC0", "4.0"), "licence holds 4.0, of type float"),
        (
            ('{"green": "like grass", "red": ""}', "{yes: a, no: b}"),
            "labels holds True, of type bool: put it in quotes",
        ),
        (('{"green": "like grass", "red": ""}', "[{green: x}]"), r"labels holds \{'green': 'x'\}, of type dict"),
        (('{"green": "like grass", "red": ""}', "red"), "labels: a mapping is needed, this is a str"),
        (('"like grass"', "3"), "labels.green holds 3, of type int"),
        (('"red": ""', '"blue": ""'), r"task 'colors': outputs \['red'\] are not in its label set \['blue', 'green'\]"),
        (('["grass", "green"]', '["grass", 1]'), r"examples\[0\]: the output is 1, of type int. Quote it"),
        (('output: "red"', 'label: "red"'), r"examples\[1\] has no 'output'; it has \['input', 'label'\]"),
        (('["grass", "green"]', '["grass"]'), r"examples\[0\] is \['grass'\]: give"),
        (('["grass", "green"]', '["", "green"]'), r"examples\[0\]: the input is empty"),
        (("family: things", "family: [things"), r"malformed YAML: .*line 4"),
    ],
)
def test_a_wrong_task_file_is_named_once_with_its_field(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    assert change[0] in TASK
    file = file_with(tmp_path, TASK.replace(*change))
    with pytest.raises(TaskError, match=f"^{file}: {message}") as caught:
        read_task(file)
    assert str(caught.value).count(str(tmp_path)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "a mapping is needed, this is a list"),
        ("", "a mapping is needed, this is a NoneType"),
        ("name: t\ndescriptions: [d]\nexamples: grass", "examples must be a list, it is a str"),
    ],
)
def test_a_file_that_is_no_task_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=f"task.yaml: {message}"):
        read_task(file_with(tmp_path, text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("output: urgent, ", ""), "a.yaml: examples: the field 'output' is missing"),
        (("codes", "code"), r"a.yaml: examples: unknown field 'code'. Did you mean 'codes'\?"),
        (("rows.jsonl", "rowz.jsonl"), "rowz.jsonl cannot be read as UTF-8 text"),
        (
            ("input: text", "input: txt"),
            r"rows.jsonl:1 \(for a.yaml\): no column 'txt'; the row has \['other', 'text', 'urgent'\]",
        ),
        (("output: urgent", "output: other"), r"rows.jsonl:1 \(for a.yaml\): the output is 3, of type int"),
        (('"2"', "2"), "a.yaml: examples.codes.no holds 2, of type int: put it in quotes"),
        ((', "no": "2"', ""), r"a.yaml: examples.codes has no code for the output 'no'; it has \['yes'\]"),
        (("file: rows.jsonl", "file: 3"), "a.yaml: examples.file holds 3, of type int"),
    ],
)
def test_a_wrong_view_is_named(change: tuple[str, str], message: str, folder: Path) -> None:
    assert change[0] in VIEW
    (folder / "a.yaml").write_text(VIEW.replace(*change))
    with pytest.raises(TaskError, match=message):
        read_task(folder / "a.yaml")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"text": "a", "urgent"}', r"rows.jsonl:4: not JSON: .* \(column 23\)"),
        ("[1]", "rows.jsonl:4: a JSON object a line is needed, this is a list"),
        ('{"text": "a"}', "rows.jsonl:4 .*no column 'urgent'"),
        ('{"text": " ", "urgent": "no"}', "rows.jsonl:4 .*the input is empty"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(row: str, message: str, folder: Path) -> None:
    with (folder / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(row)
    with pytest.raises(TaskError, match=message):
        read_task(folder / "a.yaml")


def test_lines_are_counted_with_empty_ones_and_windows_ends(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(b'{"a": 1}\r\n\r\n{"a": 2}\r\n')
    assert list(read_jsonl(tmp_path / "r.jsonl")) == [
        (f"{tmp_path}/r.jsonl:1", {"a": 1}),
        (f"{tmp_path}/r.jsonl:3", {"a": 2}),
    ]


@pytest.mark.parametrize("read", [read_task, lambda file: list(read_jsonl(file))], ids=["task", "rows"])
def test_a_file_that_is_no_text_is_named(read: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TaskError, match="raw cannot be read as UTF-8 text"):
        read(tmp_path / "raw")


def test_a_folder_that_is_no_corpus_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"elsewhere is no task folder: it has no corpus.yaml. See tasks/README.md"):
        Folder(str(tmp_path / "elsewhere"))
    (folder / "corpus.yaml").write_text("format: json")
    with pytest.raises(TaskError, match=r"corpus.yaml: format is 'json'; this reader takes 'folder'"):
        Folder(str(folder))
    (folder / "corpus.yaml").write_text("format: folder\nsplits: [a]")
    with pytest.raises(TaskError, match=r"corpus.yaml: splits holds"):
        Folder(str(folder))


def test_an_empty_folder_is_named(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.yaml").unlink()
    with pytest.raises(TaskError, match=r"holds no task files \(\*.yaml\)"):
        Folder(str(folder)).read()


# the table and mixtures


def test_one_corpus_is_built_from_its_settings(folder: Path) -> None:
    [corpus] = open_corpora({"kind": "folder", "path": str(folder)})
    assert isinstance(corpus, CORPORA["folder"])
    assert corpus.path == folder


def test_a_mixture_gives_its_parts_in_order_nested_ones_too(folder: Path) -> None:
    part = {"kind": "folder", "path": str(folder)}
    inner = {"kind": "mixture", "parts": {"x": {**part, "splits": "x"}, "y": {**part, "splits": "y"}}}
    corpora = open_corpora({"kind": "mixture", "parts": {"in": inner, "z": {**part, "splits": "z"}}})
    assert [corpus.splits for corpus in corpora] == ["x", "y", "z"]


def test_the_weight_of_a_mixture_multiplies_that_of_its_parts(folder: Path) -> None:
    part = {"kind": "folder", "path": str(folder)}
    inner = {"kind": "mixture", "weight": 3, "parts": {"x": part, "y": {**part, "weight": 0.5}}}
    corpora = open_corpora({"kind": "mixture", "parts": {"in": inner, "z": part}})
    assert [corpus.weight for corpus in corpora] == [3.0, 1.5, 1.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "folder", "path": "x", "weight": 0}, "corpus.weight is 0: give a number above 0"),
        ({"kind": "folder", "path": "x", "weight": "2"}, "corpus.weight is '2': give a number"),
        (
            {"kind": "mixture", "parts": {"a": {"kind": "folder", "path": "x", "weight": -1}}},
            "corpus.parts.a.weight is -1",
        ),
        ({"kind": "foldr", "path": "x"}, r"corpus.kind: there is no 'foldr'. Did you mean 'folder'\?"),
        ({"kind": "folder", "pth": "x"}, r"corpus has no setting 'pth'. Did you mean 'path'\?"),
        ({"kind": "mixture"}, "corpus is a mixture without parts. Give corpus.parts"),
        ({"kind": "mixture", "parts": {"a": {"path": "x"}}}, "corpus.parts.a has no 'kind'"),
    ],
)
def test_wrong_corpus_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_corpora(settings)
