"""Meta-splits: which tasks are trained on, which validate, which test."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from hyperpeft.tasks import Task, TaskError

SPLITS = ("train", "validation", "test")


def split_tasks(
    tasks: Sequence[Task], splits: str | Path | Mapping[str, Any] | None, licences: Sequence[str] | None = None
) -> dict[str, list[Task]]:
    """The tasks of each meta-split. No family is cut where the split is ours to make.

    `splits`: None (70/15/15 % of families, by a hash of their names); a YAML file or mapping with `task: split` or
    `task: {split, family, licence}` entries, or with `families: {family: split}`; or a folder with `train_tasks.txt`
    and `test_tasks.txt` as in Super-NaturalInstructions (every tenth training task then validates).
    `licences`: keep only training tasks whose licence (of the split entry, else the task's own) is one of these.
    Tasks that the splits do not name are left out, as are those marked `excluded`; a family must be named.
    Raises TaskError if a split is unknown or one of train and validation is left empty.
    """
    entries = _entries(splits, tasks)
    parts: dict[str, list[Task]] = {name: [] for name in SPLITS}
    for task in tasks:
        entry = entries.get(task.name)
        if entry is None or entry["split"] == "excluded":
            continue
        if licences and entry["split"] == "train" and entry.get("licence", task.licence) not in licences:
            continue
        parts[entry["split"]].append(replace(task, family=entry.get("family") or task.family))
    empty = [name for name in ("train", "validation") if not parts[name]]
    if empty:
        rules = f"splits={'null (a hash of families)' if splits is None else 'as given'}, licences={licences}"
        raise TaskError(
            f"no task is left for {' and '.join(empty)}: of {len(tasks)} tasks read, {sum(map(len, parts.values()))} "
            f"remain with {rules}. Check corpus.path, corpus.splits and licences."
        )
    return parts


def _entries(splits: str | Path | Mapping[str, Any] | None, tasks: Sequence[Task]) -> dict[str, dict[str, str]]:
    if splits is None:
        return {task.name: {"split": _hashed_split(task.family or task.name)} for task in tasks}
    found = splits if isinstance(splits, Mapping) else _read_splits(Path(splits))
    if "families" not in found:
        return {name: _entry(name, entry) for name, entry in found.items()}
    families = {name: _entry(name, entry) for name, entry in found["families"].items()}
    unlisted = sorted({task.family for task in tasks} - families.keys())
    if unlisted:
        raise TaskError(f"splits: no split is given for the families {unlisted}. Add them, as `excluded` if unwanted.")
    return {task.name: families[task.family] for task in tasks}


def _entry(name: str, entry: object) -> dict[str, str]:
    found = entry if isinstance(entry, Mapping) else {"split": entry}
    if found.get("split") not in (*SPLITS, "excluded"):
        raise TaskError(f"splits: {name!r} is in split {found.get('split')!r}; there is {', '.join(SPLITS)}, excluded.")
    return dict(found)


def _read_splits(path: Path) -> Mapping[str, Any]:
    if path.is_dir():
        return _super_natural_instructions_splits(path)
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TaskError(f"the splits file {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise TaskError(f"the splits file {path} must map tasks to splits.")
    return found


def _super_natural_instructions_splits(folder: Path) -> dict[str, str]:
    names = {}
    for part in ("train", "test"):
        file = folder / f"{part}_tasks.txt"
        if not file.is_file():
            raise TaskError(
                f"{folder} has no {file.name}: give splits/default of Super-NaturalInstructions, or a YAML."
            )
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        names.update(dict.fromkeys(lines, part))
        if part == "train":
            names.update(dict.fromkeys(sorted(lines)[9::10], "validation"))
    return names


def _hashed_split(family: str) -> str:
    place = int.from_bytes(hashlib.blake2b(family.encode(), digest_size=4).digest()) / 2**32
    return "train" if place < 0.7 else "validation" if place < 0.85 else "test"
