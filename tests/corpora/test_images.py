"""Folders of images as tasks, and scikit-learn's digits as real ones that need no network."""

import runpy
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from hyperpeft.corpora import CORPORA, Images
from hyperpeft.tasks import TaskError

SCRIPT = Path(__file__).parents[2] / "scripts" / "write_digits.py"


def draw(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(file)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    draw(folder / "cat" / "b.png", folder / "cat" / "a.PNG", folder / "dog" / "c.jpg")
    (folder / "dog" / "notes.txt").write_text("no image", encoding="utf-8")
    (folder / "empty").mkdir()
    return folder


def test_a_folder_of_labels_is_one_task(pets: Path) -> None:
    (pets / "descriptions.txt").write_text("Which pet is it?\n\nCat or dog?\n", encoding="utf-8")
    (task,) = Images(str(pets)).read()
    assert (task.name, task.family, task.metric, list(task.labels)) == ("pets", "pets", "accuracy", ["cat", "dog"])
    assert task.descriptions == ("Which pet is it?", "Cat or dog?")
    assert [(Path(example.input).name, example.output) for example in task.examples] == [
        ("a.PNG", "cat"),
        ("b.png", "cat"),
        ("c.jpg", "dog"),
    ]
    assert all(Path(example.input).is_file() for example in task.examples)


def test_a_folder_of_such_folders_is_several_tasks(pets: Path) -> None:
    draw(pets.parent / "colours" / "red" / "1.png", pets.parent / "colours" / "blue" / "2.png")
    (pets.parent / "other").mkdir()
    tasks = list(CORPORA["images"](path=str(pets.parent), family="pictures").read())
    assert [(task.name, task.family, task.descriptions) for task in tasks] == [
        ("colours", "pictures", ()),
        ("pets", "pictures", ()),
    ]


def test_what_holds_no_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"no images as <label>/<file>"):
        Images(str(tmp_path)).read()
    with pytest.raises(TaskError, match="there is no such folder"):
        Images(str(tmp_path / "nowhere"))


def test_one_label_is_too_few(tmp_path: Path) -> None:
    draw(tmp_path / "cat" / "a.png")
    with pytest.raises(TaskError, match=r"one label only \('cat'\)"):
        list(Images(str(tmp_path)).read())


def test_the_digits_are_written_as_tasks(tmp_path: Path) -> None:
    runpy.run_path(str(SCRIPT))["write_digits"](tmp_path, 3)
    tasks = {task.name: task for task in Images(str(tmp_path)).read()}
    assert sorted(tasks["parity"].labels) == ["even", "odd"]
    assert {task.name: len(task.examples) for task in tasks.values()} == {
        name: 3 * len(task.labels) for name, task in tasks.items()
    }
    assert len(tasks["digit"].labels) == 10
    first_zero = next(image for image, digit in zip(*load_digits(return_X_y=True), strict=True) if digit == 0)
    path = next(example.input for example in tasks["digit"].examples if example.output == "zero")
    with Image.open(path) as written:
        small = written.resize((8, 8), Image.Resampling.BOX)
    assert abs(sum(small.tobytes()) / 64 - first_zero.mean() * 255 / 16) < 5
