"""Mixed batches: each row with its own adapter, all rows in one forward."""

from collections.abc import Sequence
from typing import Any

from hyperpeft.backbones import Backbone
from hyperpeft.backbones.grouping import grouped
from hyperpeft.tasks import Episode, Example
from hyperpeft.weights import AdapterWeights


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
