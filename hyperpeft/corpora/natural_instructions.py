"""Super-NaturalInstructions JSON. Wang et al. 2022, arXiv:2204.07705; github.com/allenai/natural-instructions."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hyperpeft.corpora.base import Corpus
from hyperpeft.tasks import Example, Task, TaskError


class NaturalInstructions(Corpus):
    """A folder of task files in that project's JSON (its `tasks/` folder, or any folder in the same layout).

    A task is a classification if its instances have at most `max_labels` distinct single outputs, each used at least
    twice; its labels are those outputs. Of several reference outputs the first counts. `max_examples` instances are
    kept a task (the first ones), those empty or longer than `max_characters` dropped, and with them a task that has no
    other.
    """

    def __init__(
        self,
        path: str,
        splits: str | None = None,
        max_examples: int = 500,
        max_labels: int = 80,
        max_characters: int = 1000,
    ):
        self.path = Path(path)
        self.splits = splits
        self.max_examples = max_examples
        self.max_labels = max_labels
        self.max_characters = max_characters
        if not self.path.is_dir():
            raise TaskError(f"{self.path} is no folder. Give the folder that holds the task JSON files as corpus.path.")

    def read(self) -> Iterator[Task]:
        """Yield the task of every `*.json` file, in order of file name."""
        files = sorted(self.path.glob("*.json"))
        if not files:
            raise TaskError(f"{self.path} holds no *.json task files.")
        return (task for task in map(self._task, files) if task.examples)

    def _task(self, file: Path) -> Task:
        fields = _read(file)
        examples = tuple(self._examples(fields, file))
        labels = self._labels(examples)
        return Task(
            name=file.stem,
            descriptions=_definitions(fields["Definition"], file),
            examples=examples,
            labels=dict.fromkeys(labels, ""),
            family=_first(fields, "Categories"),
            metric="accuracy" if labels else "rouge_l",
            source=_first(fields, "Source"),
            licence=_first(fields, "Instance License"),
        )

    def _examples(self, fields: dict[str, Any], file: Path) -> Iterator[Example]:
        seen: set[str] = set()
        for index, instance in enumerate(fields["Instances"]):
            text, output = _input_output(instance, f"{file}: Instances[{index}]")
            usable = text.strip() and output.strip() and len(text) <= self.max_characters
            if usable and text not in seen and len(seen) < self.max_examples:
                seen.add(text)
                yield Example(text, output)

    def _labels(self, examples: tuple[Example, ...]) -> list[str]:
        counts = Counter(example.output for example in examples)
        closed = 2 <= len(counts) <= self.max_labels and min(counts.values()) >= 2
        return sorted(counts) if closed else []


def _read(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{file} cannot be read as UTF-8 text: {error}") from error
    except json.JSONDecodeError as error:
        raise TaskError(f"{file}:{error.lineno}: not JSON: {error.msg}") from error
    for key in ("Definition", "Instances"):
        if not isinstance(fields, dict) or key not in fields:
            raise TaskError(f"{file}: the field {key!r} is missing: this is no Super-NaturalInstructions task.")
    if not isinstance(fields["Instances"], list):
        raise TaskError(f"{file}: 'Instances' must be a list, it is a {type(fields['Instances']).__name__}.")
    return fields


def _definitions(value: object, file: Path) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else [value]
    for text in texts:
        if not isinstance(text, str):
            raise TaskError(f"{file}: 'Definition' must be text or a list of texts; it holds {text!r}.")
    return tuple(texts)


def _input_output(instance: object, where: str) -> tuple[str, str]:
    if not isinstance(instance, dict) or not isinstance(instance.get("input"), str):
        raise TaskError(f"{where}: 'input' must be text.")
    output = instance.get("output")
    output = output[0] if isinstance(output, list) and output else output
    if not isinstance(output, str):
        raise TaskError(f"{where}: 'output' must be text or a list of texts.")
    return instance["input"], output


def _first(fields: dict[str, Any], key: str) -> str:
    values = fields.get(key) or [""]
    return str(values[0] if isinstance(values, list) else values)
