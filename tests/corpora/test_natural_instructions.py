"""Super-NaturalInstructions JSON: small made-up files, and the real corpus beside the project where it is."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hyperpeft.corpora import NaturalInstructions
from hyperpeft.meta_splits import split_tasks
from hyperpeft.tasks import Example, Task, TaskError, unique_by_name

DATA = Path(__file__).parents[3] / "shared" / "data"


def instances(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"id": f"task-{n}", "input": text, "output": output} for n, (text, output) in enumerate(pairs)]


COLORS = {
    "Contributors": ["nobody"],
    "Source": ["made up"],
    "Categories": ["Colour Naming", "Second"],
    "Definition": ["Say the colour.", "Which colour is it?"],
    "Positive Examples": [{"input": "leaf", "output": "green", "explanation": ""}],
    "Instances": instances(
        ("grass", ["green", "light green"]), ("blood", ["red"]), ("frog", "green"), ("rose", ["red"])
    ),
    "Instance License": ["MIT"],
}


def write(folder: Path, name: str = "task001_colors", **changes: Any) -> Path:
    file = folder / f"{name}.json"
    file.write_text(json.dumps({**COLORS, **changes}), encoding="utf-8")
    return file


def only(folder: Path, **settings: Any) -> Task:
    [task] = NaturalInstructions(str(folder), **settings).read()
    return task


def test_a_classification_is_read_with_its_labels(tmp_path: Path) -> None:
    write(tmp_path)
    task = only(tmp_path)
    assert (task.name, task.family, task.source, task.licence) == ("task001_colors", "Colour Naming", "made up", "MIT")
    assert task.descriptions == ("Say the colour.", "Which colour is it?")
    assert (task.labels, task.metric) == ({"green": "", "red": ""}, "accuracy")
    assert task.examples == (
        Example("grass", "green"),
        Example("blood", "red"),
        Example("frog", "green"),
        Example("rose", "red"),
    )


@pytest.mark.parametrize(
    ("pairs", "labels"),
    [
        ([("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")], ["x", "y"]),
        ([("a", "x"), ("b", "x"), ("c", "y")], []),
        ([("a", "x"), ("b", "x")], []),
        ([(f"{n}", f"{n // 2}") for n in range(8)], []),
        ([(f"{n}", f"{n // 2}") for n in range(6)], ["0", "1", "2"]),
    ],
    ids=["closed", "one used once", "one output", "four of at most three", "three of at most three"],
)
def test_few_outputs_each_used_twice_make_a_classification(
    pairs: list[tuple[str, str]], labels: list[str], tmp_path: Path
) -> None:
    write(tmp_path, Instances=instances(*pairs))
    task = only(tmp_path, max_labels=3)
    assert list(task.labels) == labels
    assert task.metric == ("accuracy" if labels else "rouge_l")


def test_a_definition_may_be_one_text_and_other_fields_absent(tmp_path: Path) -> None:
    bare = {"Definition": "Say it.", "Instances": COLORS["Instances"]}
    (tmp_path / "t.json").write_text(json.dumps(bare))
    task = only(tmp_path)
    assert (task.descriptions, task.family, task.source, task.licence) == (("Say it.",), "", "", "")


def test_long_empty_and_repeated_instances_are_dropped_and_the_first_kept(tmp_path: Path) -> None:
    pairs = [("a", "1"), ("a", "2"), ("x" * 21, "3"), (" ", "4"), ("b", ""), ("b", "5"), ("c", "6"), ("d", "7")]
    write(tmp_path, Instances=instances(*pairs))
    task = only(tmp_path, max_examples=3, max_characters=20)
    assert task.examples == (Example("a", "1"), Example("b", "5"), Example("c", "6"))


def test_a_task_of_which_nothing_is_left_is_dropped(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "task002_long", Instances=instances(("x" * 30, "y")))
    assert only(tmp_path, max_characters=20).name == "task001_colors"
    assert len(list(NaturalInstructions(str(tmp_path)).read())) == 2


def test_tasks_come_in_order_of_file_name(tmp_path: Path) -> None:
    for name in ("task2", "task10", "task1"):
        write(tmp_path, name)
    (tmp_path / "README.md").write_text("no task")
    assert [task.name for task in NaturalInstructions(str(tmp_path)).read()] == ["task1", "task10", "task2"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Definition": 3}, "'Definition' must be text or a list of texts; it holds 3"),
        ({"Definition": ["a", None]}, "'Definition' must be text or a list of texts; it holds None"),
        ({"Instances": {"a": 1}}, "'Instances' must be a list, it is a dict"),
        ({"Instances": instances(("a", "b"), ("c", 3))}, r"Instances\[1\]: 'output' must be text or a list of texts"),
        ({"Instances": instances(("a", []))}, r"Instances\[0\]: 'output' must be"),
        ({"Instances": [{"output": "a"}]}, r"Instances\[0\]: 'input' must be text"),
        ({"Instances": ["a"]}, r"Instances\[0\]: 'input' must be text"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = write(tmp_path, **changes)
    with pytest.raises(TaskError, match=f"^{file}: {message}"):
        only(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"Definition": "a",\n"Instances": [}', "t.json:2: not JSON: "),
        ("[1]", "t.json: the field 'Definition' is missing: this is no Super-NaturalInstructions task"),
        ('{"Definition": "a"}', "t.json: the field 'Instances' is missing"),
    ],
)
def test_a_file_that_is_no_task_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(TaskError, match=message):
        only(tmp_path)


def test_a_folder_without_tasks_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"none is no folder. Give the folder that holds the task JSON files"):
        NaturalInstructions(str(tmp_path / "none"))
    with pytest.raises(TaskError, match=r"holds no \*.json task files"):
        NaturalInstructions(str(tmp_path)).read()
    (tmp_path / "t.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TaskError, match=r"t.json cannot be read as UTF-8 text"):
        only(tmp_path)


@pytest.mark.skipif(not (DATA / "corpus").is_dir(), reason="needs the shared corpus beside the project")
def test_the_shared_corpus_is_read_whole_and_its_kinds_are_found() -> None:
    tasks = unique_by_name(NaturalInstructions(str(DATA / "corpus")).read())
    entries = yaml.load((DATA / "splits.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    parts = split_tasks(tasks, DATA / "splits.yaml")
    assert len(tasks) == 392
    assert {name: len(part) for name, part in parts.items()} == {"train": 286, "validation": 41, "test": 60}
    right = sum(bool(task.labels) == (entries[task.name]["kind"] == "classification") for task in tasks)
    assert right >= 0.95 * len(tasks)
    assert all(task.labels for task in tasks if entries[task.name]["kind"] == "classification")
    assert all(task.family == entries[task.name]["family"] for part in parts.values() for task in part)
    allowed = split_tasks(tasks, DATA / "splits.yaml", ["permissive", "share-alike"])["train"]
    assert {entries[task.name]["licence"] for task in allowed} == {"permissive", "share-alike"}
    assert len(allowed) < 286
