"""Which compositions are tasks in their own right, judged by what they do to sampled inputs."""

from collections import Counter
from collections.abc import Iterator
from random import Random

from hyperpeft.corpora.procedural.composition import Composition, compose, compositions
from hyperpeft.corpora.procedural.inputs import SOURCES

PROBES = 48
FEWEST = 16
MOST = 0.65
"""A composition is trivial that, on more than this share of inputs, is constant or equal to one with a step less."""

Behaviour = tuple[str, bool, tuple[str, ...]]
"""Source, whether the input is a list, and the outputs for the probes: equal for compositions that do the same."""


class Sieve:
    """Tells tasks from trivial compositions; remembers what shorter compositions do."""

    def __init__(self) -> None:
        """Remembers nothing yet."""
        self._probes: dict[tuple[str, bool], tuple[str, ...]] = {}
        self._known: dict[int, frozenset[Behaviour]] = {1: frozenset()}

    def behaviour(self, composition: Composition) -> Behaviour:
        """What the composition does to the probes of its source."""
        return composition.source, composition.many, tuple(map(composition, self.probes(composition)))

    def probes(self, composition: Composition) -> tuple[str, ...]:
        """Distinct inputs, always the same for a source: PROBES of them, or about all there are."""
        key = composition.source, composition.many
        if key not in self._probes:
            random = Random(f"probes/{key[0]}/{key[1]}")
            drawn = (SOURCES[key[0]].draw(key[1], random) for _ in range(PROBES * 10))
            self._probes[key] = tuple(dict.fromkeys(drawn))[:PROBES]
        return self._probes[key]

    def passes(self, composition: Composition) -> bool:
        """Whether it is defined often enough, no identity, no constant, and unlike every shorter composition."""
        behaviour = self.behaviour(composition)
        probes, outputs = self.probes(composition), behaviour[2]
        defined = [output for output in outputs if output]
        if len(defined) < max(FEWEST, len(probes) / 3):
            return False
        if Counter(defined).most_common(1)[0][1] > MOST * len(defined):
            return False
        if any(_alike(outputs, shorter) for shorter in self._shortened(composition)):
            return False
        return behaviour not in self._shorter_than(len(composition.steps))

    def _shortened(self, composition: Composition) -> Iterator[tuple[str, ...]]:
        """Outputs for the same probes with one step left out, and the probes themselves, unchanged."""
        probes = self.probes(composition)
        yield probes
        for left_out in range(len(composition.steps)):
            steps = [step for place, step in enumerate(composition.steps) if place != left_out]
            shorter = compose(steps) if steps else None
            if shorter and shorter.many == composition.many and shorter.element in (composition.element, "word"):
                yield tuple(map(shorter, probes))

    def _shorter_than(self, steps: int) -> frozenset[Behaviour]:
        if steps not in self._known:
            fitting = (self.behaviour(composition) for composition in compositions(steps - 1))
            self._known[steps] = self._shorter_than(steps - 1).union(fitting)
        return self._known[steps]


def _alike(outputs: tuple[str, ...], others: tuple[str, ...]) -> bool:
    defined = [(output, other) for output, other in zip(outputs, others, strict=True) if output]
    return sum(output == other for output, other in defined) > MOST * len(defined)
