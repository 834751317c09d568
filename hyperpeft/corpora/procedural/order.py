"""In which order tasks are taken: single primitives first, then all kinds of input by turns."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from random import Random

from hyperpeft.corpora.procedural.catalogue import BASES, PRIMITIVES
from hyperpeft.corpora.procedural.composition import Composition, compose, compositions

DEEPEST = 3
PATIENCE = 10_000
"""Draws without a new triple after which there are taken to be no more."""


def ordered(depth: int, seed: int) -> Iterator[Composition]:
    """Every composition of up to `depth` steps (trivial ones too): the bases, then the rest shuffled by the seed.

    Lifted primitives and pairs come in turns with triples. There are about a million triples: they are drawn.
    """
    singles = list(compositions(1))
    bases, lifted = singles[: len(BASES)], singles[len(BASES) :]
    yield from _shuffled(bases, Random(f"{seed}/order/1"))
    if depth == 1:
        yield from _shuffled(lifted, Random(f"{seed}/order/1/lifted"))
        return
    pairs = list(compositions(2))
    streams = [_by_turns([*lifted, *pairs], Random(f"{seed}/order/2"))]
    if depth == DEEPEST:
        streams.append(_triples(pairs, Random(f"{seed}/order/3")))
    yield from _alternate(streams)


def _by_turns(items: Iterable[Composition], random: Random) -> Iterator[Composition]:
    return _alternate([iter(_shuffled(group, random)) for group in _grouped(items)])


def _triples(pairs: Iterable[Composition], random: Random) -> Iterator[Composition]:
    groups, steps = _grouped(pairs), list(PRIMITIVES.values())
    found: set[str] = set()
    draws_left = PATIENCE
    while draws_left:
        draws_left -= 1
        pair = random.choice(random.choice(groups))
        triple = compose([*pair.steps, random.choice(steps)])
        if triple and triple.name not in found:
            found.add(triple.name)
            draws_left = PATIENCE
            yield triple


def _grouped(items: Iterable[Composition]) -> list[list[Composition]]:
    """The items by kind of input: words, numbers or letters, alone or in lists, and what lexical steps need."""
    groups: dict[tuple[str, bool], list[Composition]] = {}
    for item in items:
        kind = item.element if item.element in ("word", "number", "letter") else "lexical"
        groups.setdefault((kind, item.many), []).append(item)
    return list(groups.values())


def _shuffled(items: Sequence[Composition], random: Random) -> list[Composition]:
    return random.sample(items, len(items))


def _alternate(streams: Sequence[Iterator[Composition]]) -> Iterator[Composition]:
    return filter(None, chain.from_iterable(zip_longest(*streams)))
