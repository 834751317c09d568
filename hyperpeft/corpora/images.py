"""Folders of images as tasks: `path/<label>/<file>`, or `path/<task>/<label>/<file>` for several tasks."""

from collections.abc import Iterator
from pathlib import Path

from hyperpeft.corpora.base import Corpus
from hyperpeft.tasks import Example, Task, TaskError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
DESCRIPTIONS = "descriptions.txt"


class Images(Corpus):
    """Image classification tasks for vision backbones: an example's input is the path of its file.

    A folder whose subfolders hold images is a task, they are its labels; `path` is one, or holds several.
    `descriptions.txt` beside the labels has a description a line, and may be missing. Images are not opened here.
    """

    def __init__(self, path: str, splits: str | None = None, family: str = ""):
        self.path = Path(path)
        self.splits = splits
        self.family = family
        if not self.path.is_dir():
            raise TaskError(f"{self.path} is no folder of images: there is no such folder.")

    def read(self) -> Iterator[Task]:
        """Yield the tasks in order of folder name. Raises TaskError if there are none."""
        own = _labelled(self.path)
        folders = [self.path] if own else [folder for folder in _folders(self.path) if _labelled(folder)]
        if not folders:
            raise TaskError(
                f"{self.path} holds no images as <label>/<file> or <task>/<label>/<file>; known are files ending in "
                f"{', '.join(SUFFIXES)}."
            )
        return map(self._task, folders)

    def _task(self, folder: Path) -> Task:
        labelled = _labelled(folder)
        if len(labelled) < 2:
            raise TaskError(
                f"{folder} has images of one label only ({next(iter(labelled))!r}): two at least are needed."
            )
        return Task(
            name=folder.resolve().name,
            descriptions=_descriptions(folder / DESCRIPTIONS),
            examples=tuple(Example(str(file), label) for label, files in labelled.items() for file in files),
            labels=dict.fromkeys(labelled, ""),
            family=self.family or folder.resolve().name,
            metric="accuracy",
        )


def _folders(path: Path) -> list[Path]:
    return sorted(place for place in path.iterdir() if place.is_dir())


def _labelled(folder: Path) -> dict[str, list[Path]]:
    """Image files by label, in order of name; labels without any are left out."""
    found = {
        place.name: sorted(file for file in place.iterdir() if file.suffix.lower() in SUFFIXES)
        for place in _folders(folder)
    }
    return {label: files for label, files in found.items() if files}


def _descriptions(file: Path) -> tuple[str, ...]:
    if not file.is_file():
        return ()
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line)
