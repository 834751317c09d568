"""Records by cell, means over tasks with their bootstrap intervals, and paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from hyperpeft.baselines import METHODS
from hyperpeft.records import Record

Column = tuple[int, int]
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean over tasks and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    tasks: int

    @property
    def separated(self) -> bool:
        """Whether the interval leaves zero out. A single task separates nothing."""
        return self.tasks > 1 and not self.low <= 0 <= self.high

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def interval(rows: Sequence[Sequence[float]]) -> Interval:
    """Mean and 95 % interval of numbers given as one row a task, one number a seed.

    Percentile bootstrap in two stages (Davison and Hinkley 1997, section 3.8): tasks are drawn with replacement, then
    within each drawn task its seeds with replacement; the statistic is the mean over tasks of the means over seeds.
    2,000 resamples from a fixed seed, drawn by scipy. Tasks count alike, whatever their number of seeds.
    """
    counts = np.array([len(row) for row in rows])
    values = np.zeros((len(rows), max(counts)))
    for place, row in enumerate(rows):
        values[place, : len(row)] = row
    means = [float(np.mean(row)) for row in rows]
    mean = float(np.mean(means))
    if all(np.ptp(row) == 0 for row in rows) and np.ptp(means) == 0:
        return Interval(mean, mean, mean, len(rows))
    random = np.random.default_rng(1)

    def statistic(drawn: NDArray[Any], axis: int) -> NDArray[Any]:
        return _seeds_drawn(values, counts, drawn.astype(int), random).mean(axis=axis)

    if len(rows) == 1:  # scipy wants two observations: only the seeds vary
        found = np.percentile(statistic(np.zeros((RESAMPLES, 1)), -1), [2.5, 97.5])
    else:
        generator = np.random.default_rng(0)
        places = np.arange(len(rows))
        made = bootstrap(
            (places,), statistic, n_resamples=RESAMPLES, method="percentile", vectorized=True, rng=generator
        )
        found = made.confidence_interval
    return Interval(mean, float(found[0]), float(found[1]), len(rows))


def _seeds_drawn(
    values: NDArray[Any], counts: NDArray[Any], tasks: NDArray[Any], random: np.random.Generator
) -> NDArray[Any]:
    """For each drawn task the mean of as many of its seeds as it has, drawn with replacement."""
    held = counts[tasks][..., None]
    chosen = np.floor(random.random((*tasks.shape, values.shape[1])) * held).astype(int)
    kept = np.arange(values.shape[1]) < held
    return np.where(kept, values[tasks[..., None], chosen], 0.0).sum(-1) / held[..., 0]


@dataclass(frozen=True)
class Comparison:
    """A paired difference; by task, seeds averaged: the shares where the first is better and worse, the lowest one."""

    difference: Interval
    wins: float
    losses: float
    worst: float


class Results:
    """Records, found by method and (shots, steps) column."""

    def __init__(self, records: Sequence[Record]):
        self.records = list(records)
        self._cells: dict[tuple[str, int, int], list[Record]] = {}
        for record in self.records:
            self._cells.setdefault((record.method, record.shots, record.steps), []).append(record)
        self._means: dict[tuple[str, int, int], Interval] = {}

    @cached_property
    def methods(self) -> list[str]:
        """Names in the one fixed order: that of METHODS, then others by name."""
        known = {name: place for place, name in enumerate(METHODS)}
        return sorted({r.method for r in self.records}, key=lambda name: (known.get(name, len(known)), name))

    @cached_property
    def columns(self) -> list[Column]:
        """The (shots, steps) that were measured."""
        return sorted({(record.shots, record.steps) for record in self.records})

    @property
    def shots(self) -> list[int]:
        """The numbers of shots that were measured."""
        return sorted({shots for shots, _ in self.columns})

    def steps(self, shots: int, method: str | None = None) -> list[int]:
        """The fine-tune steps that were measured with so many shots."""
        cells = self._cells
        return sorted({step for name, k, step in cells if k == shots and method in (None, name)})

    def cells(self, method: str, column: Column) -> list[Record]:
        """The records of a method in a column."""
        return self._cells.get((method, *column), [])

    def scores(self, method: str, column: Column) -> dict[str, dict[int, float]]:
        """Task -> seed -> score, tasks sorted."""
        found: dict[str, dict[int, float]] = {}
        for record in sorted(self.cells(method, column), key=lambda record: (record.task, record.seed)):
            found.setdefault(record.task, {})[record.seed] = record.score
        return found

    def mean(self, method: str, column: Column) -> Interval | None:
        """Mean score over tasks; None if nothing was measured."""
        key = (method, *column)
        if key not in self._means and self.cells(method, column):
            rows = [list(seeds.values()) for seeds in self.scores(method, column).values()]
            self._means[key] = interval(rows)
        return self._means.get(key)

    def compare(self, method: str, column: Column, other: str, other_column: Column | None = None) -> Comparison | None:
        """The first less the second, paired by task and seed; None if they have no task in common.

        `other_column`: where the other stands, if elsewhere (a method that is not fine-tuned stays at 0 steps).
        """
        rows = differences(self.scores(method, column), self.scores(other, other_column or column))
        if not rows:
            return None
        means = np.array([np.mean(list(row.values())) for row in rows.values()])
        return Comparison(
            interval([list(row.values()) for row in rows.values()]),
            wins=float((means > 0).mean()),
            losses=float((means < 0).mean()),
            worst=float(means.min()),
        )


def differences(
    ours: Mapping[str, Mapping[int, float]], theirs: Mapping[str, Mapping[int, float]]
) -> dict[str, dict[int, float]]:
    """Task -> seed -> difference, over the cells that both have."""
    found: dict[str, dict[int, float]] = {}
    for task in ours:
        common = [seed for seed in ours[task] if seed in theirs.get(task, {})]
        if common:
            found[task] = {seed: ours[task][seed] - theirs[task][seed] for seed in common}
    return found
