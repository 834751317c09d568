"""Descriptions of compositions: steps said one by one or nested, in sentences of many frames."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from hyperpeft.corpora.procedural.catalogue import base_name
from hyperpeft.corpora.procedural.composition import Composition
from hyperpeft.corpora.procedural.primitive import PLURALS, TEXT, Primitive, element, is_list

FRAMES: dict[int, tuple[str, ...]] = {
    1: (
        "{0}.",
        "{0}.",
        "Given {thing}, {0}.",
        "Your task is to {0}.",
        "The input is {thing}. {0}.",
        "You get {thing}; {0}.",
    ),
    2: (
        "First {0}, then {1}.",
        "{0}. Then {1}.",
        "{0}; after that, {1}.",
        "Given {thing}, {0}, and then {1}.",
        "Step one: {0}. Step two: {1}.",
        "Do two things in turn: {0}; {1}.",
        "You get {thing}. {0}, then {1}.",
        "To begin with, {0}. Next, {1}.",
    ),
    3: (
        "First {0}, then {1}, and finally {2}.",
        "{0}. Next, {1}. Last, {2}.",
        "{0}; then {1}; finally, {2}.",
        "Given {thing}, {0}, then {1}, and then {2}.",
        "Step one: {0}. Step two: {1}. Step three: {2}.",
        "Do three things in turn: {0}; {1}; {2}.",
    ),
}
LAST = ("give", "write", "output", "return")
EARLIER = ("take", "work out", "find")
HOLDS = ("holds", "contains", "consists of")


def describe(composition: Composition, count: int, random: Random) -> tuple[str, ...]:
    """So many different descriptions, in every way to cut the steps into clauses and every wording by turns."""
    splits = _splits([_shuffled(step, random) for step in composition.steps])
    found: dict[str, None] = {}
    for attempt in range(10 * count):
        turn, split = divmod(attempt, len(splits))
        if len(found) < count:
            found[_sentence(composition, splits[split], turn, random)] = None
    return tuple(found)


def _shuffled(step: Primitive, random: Random) -> Primitive:
    """The step with all it can say as an order among its orders, and both in random order."""
    orders = [*step.orders, *(f"{{verb}} {result}" for result in step.results)]
    return replace(
        step,
        orders=tuple(random.sample(orders, len(orders))),
        results=tuple(random.sample(step.results, len(step.results))),
    )


def _splits(steps: Sequence[Primitive]) -> list[list[Sequence[Primitive]]]:
    """All ways to cut the steps into consecutive groups, each of which makes one clause: singly first."""
    if not steps:
        return [[]]
    return [[steps[:end], *rest] for end in range(1, len(steps) + 1) for rest in _splits(steps[end:])]


def _sentence(composition: Composition, groups: Sequence[Sequence[Primitive]], turn: int, random: Random) -> str:
    subject = random.choice(_inputs(composition))
    clauses = []
    for place, group in enumerate(groups, start=1):
        verb = random.choice(LAST if place == len(groups) else EARLIER)
        clauses.append(_clause(group, subject, turn).format(verb=verb))
        subject = random.choice(_outcomes(group[-1]))
    frame = random.choice(FRAMES[len(groups)])
    return _with_capitals(frame.format(*clauses, thing=_kind(composition)))


def _clause(group: Sequence[Primitive], subject: str, turn: int) -> str:
    """The last step of the group as an order, with the other steps nested in what it acts on."""
    for step in group[:-1]:
        subject = step.results[turn % len(step.results)].format(x=subject)
        if base_name(step.name) != step.name:
            subject = f"the list that {HOLDS[turn % len(HOLDS)]} {subject}"
    orders = [order for order in group[-1].orders if order.endswith("{x}") or len(group) == 1]
    return orders[turn % len(orders)].replace("{x}", subject)


def _inputs(composition: Composition) -> tuple[str, ...]:
    if composition.many:
        return "the list", "the given list", f"the list of {PLURALS[composition.element]}"
    return f"the {composition.element}", f"the given {composition.element}", "the input"


def _kind(composition: Composition) -> str:
    if composition.many:
        return f"a list of {PLURALS[composition.element]}"
    return f"{'an' if composition.element[0] in 'aeiou' else 'a'} {composition.element}"


def _outcomes(step: Primitive) -> tuple[str, ...]:
    if is_list(step.gives):
        return "the result", "the resulting list", "the new list"
    kind = "text" if step.gives == TEXT else element(step.gives)
    return "the result", f"the resulting {kind}", f"that {kind}"


def _with_capitals(text: str) -> str:
    sentences = text.split(". ")
    return ". ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences)
