"""Meta-splits: every format of splits, families whole, licences, and errors that say what is left."""

from pathlib import Path
from typing import Any

import pytest

from hyperpeft.meta_splits import split_tasks
from hyperpeft.tasks import Example, Task, TaskError


def text(name: str, count: int = 20, **changes: Any) -> Task:
    examples = tuple(Example(f"{name} {n}", str(n)) for n in range(count))
    return Task(**{"name": name, "descriptions": (f"{name} told",), "examples": examples, **changes})


def names(parts: dict[str, list[Task]]) -> dict[str, list[str]]:
    return {split: [task.name for task in tasks] for split, tasks in parts.items()}


THREE = [text("a", family="f", licence="mit"), text("b", family="g", licence="mit"), text("c", family="h")]
BY_NAME = {"a": "train", "b": "validation", "c": "test"}


def yaml_file(tmp_path: Path) -> Path:
    file = tmp_path / "splits.yaml"
    file.write_text("# a comment\na: train\nb: {split: validation, family: other}\nc: test\n", encoding="utf-8")
    return file


def family_file(tmp_path: Path) -> str:
    file = tmp_path / "families.yaml"
    file.write_text("families: {f: train, g: validation, h: test}", encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    "splits",
    [
        lambda _: BY_NAME,
        lambda _: {name: {"split": split} for name, split in BY_NAME.items()},
        lambda _: {"families": {"f": "train", "g": "validation", "h": "test", "unused": "train"}},
        yaml_file,
        family_file,
    ],
    ids=["names", "entries", "families", "file", "family-file"],
)
def test_every_format_of_splits_gives_the_same(splits: Any, tmp_path: Path) -> None:
    parts = split_tasks(THREE, splits(tmp_path))
    assert names(parts) == {"train": ["a"], "validation": ["b"], "test": ["c"]}


def test_a_split_entry_may_name_the_family() -> None:
    parts = split_tasks(THREE, {"a": {"split": "train", "family": "new"}, "b": "validation"})
    assert [parts[split][0].family for split in ("train", "validation")] == ["new", "g"]
    assert parts["test"] == []


def test_excluded_and_unnamed_tasks_are_left_out() -> None:
    more = [*THREE, text("d"), text("e")]
    assert names(split_tasks(more, {**BY_NAME, "d": "excluded"})) == names(split_tasks(THREE, BY_NAME))


def test_super_natural_instructions_lists_every_tenth_training_task_validates(tmp_path: Path) -> None:
    train = [f"task{n:02}" for n in range(25)]
    (tmp_path / "train_tasks.txt").write_text("\n".join(reversed(train)) + "\n\n", encoding="utf-8")
    (tmp_path / "test_tasks.txt").write_text("other1 \nother2\n", encoding="utf-8")
    tasks = [text(name) for name in [*train, "other2", "other1", "unlisted"]]
    parts = names(split_tasks(tasks, str(tmp_path)))
    assert parts["validation"] == ["task09", "task19"]
    assert parts["train"] == [name for name in train if name not in ("task09", "task19")]
    assert parts["test"] == ["other2", "other1"]


def test_our_own_split_cuts_no_family_and_does_not_depend_on_company() -> None:
    tasks = [text(f"t{n}", family=f"family {n % 200}") for n in range(400)]
    parts = split_tasks(tasks, None)
    families = [{task.family for task in parts[split]} for split in ("train", "validation", "test")]
    assert sum(map(len, families)) == len(set().union(*families)) == 200
    assert [len(family) / 200 for family in families] == pytest.approx([0.7, 0.15, 0.15], abs=0.08)
    fewer = split_tasks(tasks[::-2], None)
    assert all({task.name for task in fewer[split]} <= {task.name for task in parts[split]} for split in parts)


def test_tasks_without_family_are_split_one_by_one() -> None:
    assert all(split_tasks([text(f"t{n}") for n in range(100)], None).values())


def test_licences_keep_training_tasks_only_where_allowed() -> None:
    tasks = [*THREE, text("d", licence="nc"), text("e", licence="nc"), text("v", licence="nc")]
    splits = {**BY_NAME, "d": "train", "e": {"split": "train", "licence": "mit"}, "v": "validation"}
    parts = names(split_tasks(tasks, splits, ["mit"]))
    assert parts == {"train": ["a", "e"], "validation": ["b", "v"], "test": ["c"]}


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            {"a": "training", "b": "validation"},
            "'a' is in split 'training'; there is train, validation, test, excluded",
        ),
        ({"a": {"family": "f"}, "b": "validation"}, "'a' is in split None"),
        ({"families": {"f": "train", "g": "valid"}}, "'g' is in split 'valid'"),
        (
            {"a": "train"},
            r"no task is left for validation: of 3 tasks read, 1 remain.*Check corpus.path, corpus.splits",
        ),
        ({"x": "train"}, "no task is left for train and validation: of 3 tasks read, 0 remain"),
    ],
)
def test_wrong_splits_are_named(splits: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        split_tasks(THREE, splits)


def test_a_licence_that_leaves_nothing_is_named() -> None:
    with pytest.raises(TaskError, match=r"no task is left for train.*licences=\['apache'\]"):
        split_tasks(THREE, BY_NAME, ["apache"])


@pytest.mark.parametrize(
    ("content", "message"),
    [("a: [", "splits.yaml cannot be read: .*line 1"), ("- a", "must map tasks to splits")],
)
def test_a_splits_file_that_cannot_be_read_is_named(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "splits.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(TaskError, match=message):
        split_tasks(THREE, file)


def test_absent_split_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"none.yaml cannot be read"):
        split_tasks(THREE, tmp_path / "none.yaml")
    (tmp_path / "train_tasks.txt").write_text("a", encoding="utf-8")
    with pytest.raises(TaskError, match=r"has no test_tasks.txt: give splits/default of Super-NaturalInstructions"):
        split_tasks(THREE, tmp_path)
