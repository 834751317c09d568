"""Tasks as text: examples, tasks, episodes. No tensors here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace


class TaskError(ValueError):
    """A task, example or task file that cannot be used: says where, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Example:
    """One input with its output: a label of the task's label set, or free text."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task, described (several paraphrases) and shown (examples).

    `labels` maps each label to its description (empty string: none); an empty mapping means text-to-text.
    `family` groups tasks of one source or theme: meta-splits never cut through a family. `weight`: how often its family
    is drawn for meta-training, against others.
    """

    name: str
    descriptions: tuple[str, ...]
    examples: tuple[Example, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    family: str = ""
    metric: str = "exact_match"
    source: str = ""
    licence: str = ""
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.descriptions and not self.examples:
            raise TaskError(f"task {self.name!r} has neither a description nor examples: nothing tells what it is.")
        if self.labels:
            strangers = sorted({example.output for example in self.examples} - set(self.labels))
            if strangers:
                raise TaskError(
                    f"task {self.name!r}: outputs {strangers[:5]} are not in its label set {sorted(self.labels)}. "
                    "Add them to the labels or correct the examples."
                )


@dataclass(frozen=True, slots=True)
class Episode:
    """What one adaptation sees of a task (descriptions, support, labels) and what it is scored on (query).

    No descriptions or no support are legal; support and query are disjoint draws of the task's examples.
    """

    task: str
    descriptions: tuple[str, ...] = ()
    support: tuple[Example, ...] = ()
    query: tuple[Example, ...] = ()
    labels: tuple[str, ...] = ()
    label_descriptions: tuple[str, ...] = ()
    metric: str = "exact_match"

    def with_descriptions(self, descriptions: Sequence[str]) -> "Episode":
        """The same episode described differently: for controls and paraphrases."""
        return replace(self, descriptions=tuple(descriptions))

    def with_query(self, query: Sequence[Example]) -> "Episode":
        """The same task scored on other examples."""
        return replace(self, query=tuple(query))


def as_examples(pairs: Iterable[object], *, where: str = "examples") -> tuple[Example, ...]:
    """Examples from (input, output) pairs, `{"input": ..., "output": ...}` mappings or Example values.

    Raises TaskError naming the first item that is none of these.
    """
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise TaskError(f"{where} is {pairs!r}: give (input, output) pairs.")
    return tuple(as_example(item, where=f"{where}[{index}]") for index, item in enumerate(pairs))


def as_example(item: object, *, where: str) -> Example:
    """One example from a pair, mapping or Example value; raises TaskError that begins with `where`."""
    if isinstance(item, Example):
        return item
    if isinstance(item, Mapping):
        missing = [key for key in ("input", "output") if key not in item]
        if missing:
            raise TaskError(f"{where} has no {missing[0]!r}; it has {sorted(map(str, item))}.")
        item = (item["input"], item["output"])
    if isinstance(item, str) or not isinstance(item, Sequence) or len(item) != 2:
        raise TaskError(f"{where} is {item!r}: give (input, output) pairs of two strings.")
    for part, value in zip(("input", "output"), item, strict=True):
        if not isinstance(value, str):
            raise TaskError(
                f"{where}: the {part} is {value!r}, of type {type(value).__name__}. Quote it: both are text."
            )
        if not value.strip():
            raise TaskError(f"{where}: the {part} is empty.")
    return Example(*item)


def unique_by_name(tasks: Iterable[Task]) -> list[Task]:
    """The tasks as a list; raises TaskError if two have one name."""
    seen: dict[str, Task] = {}
    for task in tasks:
        if task.name in seen:
            raise TaskError(
                f"two tasks are named {task.name!r} (families {seen[task.name].family!r} and {task.family!r}). "
                "Names identify tasks in splits and results: rename one."
            )
        seen[task.name] = task
    return list(seen.values())
