"""Rows of a batch in groups of one width, each group with one task's adapter weights."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hyperpeft.weights import AdapterWeights


@dataclass(frozen=True)
class Grouping:
    """Rows of a batch in the form that a backbone computes: `(group row)`, as many rows a group, one adapter a group.

    `adapters`: the adapter of each group; one may have several groups. `rows`: indices of each group's rows in the
    batch, less than `width` where padding follows.
    """

    adapters: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]

    @property
    def width(self) -> int:
        """Rows a group, padding included."""
        return max(map(len, self.rows))

    @property
    def order(self) -> list[int]:
        """For each `(group row)` the row of the batch to put there; padding repeats the group's first row."""
        return [row for rows in self.rows for row in (*rows, *[rows[0]] * (self.width - len(rows)))]

    @property
    def place(self) -> list[int]:
        """For each row of the batch where it stands in `(group row)`."""
        places = {row: g * self.width + i for g, rows in enumerate(self.rows) for i, row in enumerate(rows)}
        return [places[row] for row in range(len(places))]

    def weights(self, adapters: AdapterWeights) -> AdapterWeights:
        """The weights of each group from those of all adapters."""
        index = torch.tensor(self.adapters)
        return adapters.map(lambda leaf: leaf.index_select(0, index.to(leaf.device)))


def grouped(adapters: Sequence[int], *, cost: float = 0.1, split: bool = True) -> Grouping:
    """The rows of a batch, given the adapter of each, as groups of one width.

    The width is the one that costs least: rows to compute, padding included, and `cost` rows a group, for its copy of
    the weights. An adapter with more rows gets several groups. `split=False`: one group an adapter, where groups have a
    great cost of their own (prototypes).
    """
    if not adapters:
        raise ValueError("there are no rows: pass the adapter of at least one.")
    rows: dict[int, list[int]] = defaultdict(list)
    for row, adapter in enumerate(adapters):
        rows[adapter].append(row)
    counts = [len(members) for members in rows.values()]
    widths = range(1, max(counts) + 1) if split else [max(counts)]
    width = min(widths, key=lambda width: sum(-(-count // width) for count in counts) * (width + cost))
    groups = [
        (adapter, tuple(members[start : start + width]))
        for adapter, members in sorted(rows.items())
        for start in range(0, len(members), width)
    ]
    return Grouping(tuple(adapter for adapter, _ in groups), tuple(members for _, members in groups))
