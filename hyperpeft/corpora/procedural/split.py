"""What is seen in meta-training and what is held out. Decided by names alone, with a keyed digest."""

from collections.abc import Iterable
from hashlib import blake2b
from itertools import pairwise

from hyperpeft.corpora.procedural.catalogue import HELD_OUT, base_name
from hyperpeft.corpora.procedural.composition import Composition

SEEN, NEW_COMPOSITION, NEW_PRIMITIVE = "seen", "new_composition", "new_primitive"
SHARE = 0.2
"""Share of the pairs of seen primitives that are held out."""


def family_of(composition: Composition) -> str:
    """The part of a composition: "new_primitive", "new_composition" or "seen".

    A pair of primitives is held out in both orders, and with either of them applied to each element, wherever it
    occurs: what holds two held-out neighbours is held out whatever its length.
    """
    bases = [base_name(step.name) for step in composition.steps]
    if not HELD_OUT.isdisjoint(bases):
        return NEW_PRIMITIVE
    return NEW_COMPOSITION if any(_digest("pair", pair) < SHARE for pair in pairwise(bases)) else SEEN


def split_of(composition: Composition) -> str:
    """The meta-split: "train" for what is seen; what is held out, half in "validation" and half in "test"."""
    if family_of(composition) == SEEN:
        return "train"
    bases = [base_name(step.name) for step in composition.steps]
    return "validation" if _digest("split", bases) < 0.5 else "test"


def _digest(key: str, names: Iterable[str]) -> float:
    """A number in [0, 1) that depends on which names there are, not on their order."""
    text = "/".join(sorted(names)).encode()
    return int.from_bytes(blake2b(text, key=key.encode(), digest_size=8).digest()) / 2**64
