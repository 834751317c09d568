"""Mixed batches: each row with its own adapter, all rows in one forward."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hyperpeft.backbones import Backbone
from hyperpeft.tasks import Episode, Example
from hyperpeft.weights import AdapterWeights

GROUP_COST = 0.1


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


def grouped(adapters: Sequence[int], *, split: bool = True) -> Grouping:
    """The rows of a batch, given the adapter of each, as groups of one width.

    The width is the one that costs least: rows to compute, padding included, and GROUP_COST rows a group, for its copy
    of the weights. An adapter with more rows gets several groups. `split=False`: one group an adapter, where groups
    have a great cost of their own (prototypes).
    """
    if not adapters:
        raise ValueError("there are no rows: pass the adapter of at least one.")
    rows: dict[int, list[int]] = defaultdict(list)
    for row, adapter in enumerate(adapters):
        rows[adapter].append(row)
    counts = [len(members) for members in rows.values()]
    widths = range(1, max(counts) + 1) if split else [max(counts)]
    width = min(widths, key=lambda width: sum(-(-count // width) for count in counts) * (width + GROUP_COST))
    groups = [
        (adapter, tuple(members[start : start + width]))
        for adapter, members in sorted(rows.items())
        for start in range(0, len(members), width)
    ]
    return Grouping(tuple(adapter for adapter, _ in groups), tuple(members for _, members in groups))


def predict_rows(
    backbone: Backbone[Any], weights: AdapterWeights, episodes: Sequence[Episode], rows: Sequence[tuple[int, str]]
) -> list[str]:
    """The output for each (adapter index, input), whatever the adapters, in the order given.

    `episodes[i]` is the task of adapter i: its labels and, for prototypes, its support. Rows of tasks with a label set
    share one forward, rows of text tasks another. Raises IndexError for an adapter that is not there.
    """
    if len(episodes) != weights.tasks:
        raise ValueError(f"{weights.tasks} adapters need as many episodes; these are {len(episodes)}.")
    for adapter, _ in rows:
        if not 0 <= adapter < weights.tasks:
            raise IndexError(f"there is no adapter {adapter}: these weights hold {weights.tasks} task(s).")
    found: dict[int, str] = {}
    for labelled in (True, False):
        chosen = [index for index, (adapter, _) in enumerate(rows) if bool(episodes[adapter].labels) == labelled]
        if chosen:
            outputs = _predict(backbone, weights, episodes, [rows[index] for index in chosen])
            found.update(zip(chosen, outputs, strict=True))
    return [found[index] for index in range(len(rows))]


def _predict(
    backbone: Backbone[Any], weights: AdapterWeights, episodes: Sequence[Episode], rows: Sequence[tuple[int, str]]
) -> list[str]:
    grouping = grouped([adapter for adapter, _ in rows], split=not backbone.classifies)
    asked = [
        episodes[adapter].with_query([Example(rows[row][1], "") for row in members])
        for adapter, members in zip(grouping.adapters, grouping.rows, strict=True)
    ]
    with backbone.adapted(grouping.weights(weights)):
        outputs = backbone.predict(asked)
    found: dict[int, str] = {}
    for members, texts in zip(grouping.rows, outputs, strict=True):
        found.update(zip(members, texts, strict=True))
    return [found[row] for row in range(len(rows))]
