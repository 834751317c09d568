"""Choosing one item of several, without ties."""

from collections import Counter
from collections.abc import Callable


def only_best(items: list[str], score: Callable[[str], int]) -> str:
    """The different item of the highest score; nothing where two tie."""
    best = max(map(score, items))
    winners = list(dict.fromkeys(item for item in items if score(item) == best))
    return winners[0] if len(winners) == 1 else ""


def most_frequent(items: list[str]) -> str:
    """The item that occurs most often; nothing where two tie."""
    counts = Counter(items)
    return only_best(items, lambda item: counts[item])
