"""Write scikit-learn's handwritten digits as image tasks: <folder>/<task>/<label>/<number>.png.

python scripts/write_digits.py data/digits                # nine tasks: all digits, some, properties
python scripts/write_digits.py data/digits --images 40    # at most so many images a label
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
Label = Callable[[int], str | None]


def some(*digits: int) -> Label:
    """Names these digits; leaves the others out."""
    return lambda digit: WORDS[digit] if digit in digits else None


TASKS: dict[str, tuple[str, Label]] = {
    "digit": ("Say which digit is written.", some(*range(10))),
    "low_digit": ("Say which digit from zero to four is written.", some(*range(5))),
    "high_digit": ("Say which digit from five to nine is written.", some(*range(5, 10))),
    "parity": ("Is the written digit even or odd?", lambda digit: "odd" if digit % 2 else "even"),
    "size": ("Is the written digit below five?", lambda digit: "below" if digit < 5 else "not below"),
    "zero_or_one": ("Is it a zero or a one?", some(0, 1)),
    "three_or_eight": ("Is it a three or an eight?", some(3, 8)),
    "four_or_nine": ("Is it a four or a nine?", some(4, 9)),
    "one_or_seven": ("Is it a one or a seven?", some(1, 7)),
}


def write_digits(folder: Path, most: int) -> None:
    """Write the folders of every task, at most so many images of each label."""
    digits = load_digits()
    pictures = [Image.fromarray((image * 255 / 16).astype(np.uint8)).resize((32, 32)) for image in digits.images]
    for name, (description, label) in TASKS.items():
        counts: dict[str, int] = {}
        for picture, digit in zip(pictures, digits.target, strict=True):
            said = label(int(digit))
            if said is None or counts.get(said, 0) >= most:
                continue
            counts[said] = counts.get(said, 0) + 1
            place = folder / name / said
            place.mkdir(parents=True, exist_ok=True)
            picture.save(place / f"{counts[said]:04d}.png")
        (folder / name / "descriptions.txt").write_text(description + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200, help="at most so many of each label")
    options = parser.parse_args()
    write_digits(options.folder, options.images)
    print(f"{len(TASKS)} tasks in {options.folder}")


if __name__ == "__main__":
    main()
