"""Primitives in a row, where the types fit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from hyperpeft.config import did_you_mean
from hyperpeft.corpora.procedural.catalogue import PRIMITIVES
from hyperpeft.corpora.procedural.inputs import LONGEST
from hyperpeft.corpora.procedural.primitive import PLURALS, Primitive, element, is_list, is_word
from hyperpeft.tasks import TaskError

JOINT = "__then__"


@dataclass(frozen=True, slots=True)
class Composition:
    """Steps taken one after the other, the element type of the input, and the source to draw inputs from."""

    steps: tuple[Primitive, ...]
    element: str
    source: str

    @property
    def name(self) -> str:
        """The names of the steps, joined."""
        return JOINT.join(step.name for step in self.steps)

    @property
    def many(self) -> bool:
        """Whether the input is a list."""
        return is_list(self.steps[0].takes)

    @property
    def takes(self) -> str:
        """The type of the input: a type of element, or its plural for a list."""
        return PLURALS[self.element] if self.many else self.element

    def __call__(self, text: str) -> str:
        """The output for an input; empty where a step is undefined or the output is longer than LONGEST."""
        for step in self.steps:
            if text:
                text = step.function(text)
        return text if len(text) <= LONGEST else ""


def compose(steps: Sequence[Primitive]) -> Composition | None:
    """The composition of the steps; None where the types do not fit.

    As long as steps keep elements, a later step may narrow the input: the first word, then its plural, takes nouns.
    """
    taken = current = element(steps[0].takes)
    many = is_list(steps[0].takes)
    source, kept = "", True
    for step in steps:
        wanted = element(step.takes)
        if is_list(step.takes) != many or not _fits(current, wanted, narrowing=kept):
            return None
        if kept and (not source or wanted not in (current, "word")):
            source = step.inputs
        if kept and current == "word":
            taken = current = wanted
        kept = kept and step.keeps
        many = is_list(step.gives)
        current = current if step.keeps else element(step.gives)
    return Composition(tuple(steps), taken, source or taken)


def _fits(given: str, wanted: str, *, narrowing: bool) -> bool:
    if given == wanted:
        return True
    return (wanted == "word" and is_word(given)) or (narrowing and given == "word" and is_word(wanted))


def compositions(steps: int) -> Iterator[Composition]:
    """Every composition of so many steps, trivial ones too, in the order of the catalogue."""
    if steps == 1:
        yield from filter(None, (compose([step]) for step in PRIMITIVES.values()))
        return
    for shorter, last in product(compositions(steps - 1), PRIMITIVES.values()):
        composition = compose([*shorter.steps, last])
        if composition:
            yield composition


def parse(name: str) -> Composition:
    """The composition of a name. Raises TaskError for unknown primitives and for types that do not fit."""
    names = name.split(JOINT)
    for part in names:
        if part not in PRIMITIVES:
            raise TaskError(
                f"procedural task {name!r}: no primitive is named {part!r}. {did_you_mean(part, PRIMITIVES)}"
            )
    composition = compose([PRIMITIVES[part] for part in names])
    if composition is None:
        steps = ", ".join(f"{part} ({PRIMITIVES[part].takes} to {PRIMITIVES[part].gives})" for part in names)
        raise TaskError(f"procedural task {name!r}: the steps do not fit: {steps}. Each must take what the last gives.")
    return composition
