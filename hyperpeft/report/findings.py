"""What the records say: claims, steps and cost saved, gain recovered, calibration, cost."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hyperpeft.baselines import CONDITIONINGS, Generated
from hyperpeft.config import ConfigError
from hyperpeft.report.intervals import Column, Comparison, Interval, Results, differences, interval

CONTROLS = tuple(Generated.name_of(name) for name in CONDITIONINGS if name != "joint")
BARE = "no adapter"


@dataclass
class ReportSettings:
    """What the report compares. Changing it needs no new measurement.

    ours: the method that claims are made for. references: the methods that it is compared with; null: all.
    rivals: the methods whose steps and cost to reach ours are counted. oracle: what adapting could give at best.
    at: the fine-tune steps of ours that rivals must reach. tasks: a regular expression; only tasks whose whole name it
    matches are reported.
    """

    ours: str = "generated"
    references: list[str] | None = None
    rivals: list[str] = field(default_factory=lambda: ["from scratch", "shared multi-task adapter"])
    oracle: str = "task oracle"
    at: list[int] = field(default_factory=lambda: [0, 5, 20])
    tasks: str = ".*"

    def __post_init__(self) -> None:
        try:
            re.compile(self.tasks)
        except re.error as error:
            raise ConfigError(f"report.tasks is no regular expression: {self.tasks!r} ({error}).") from error

    def covers(self, task: str) -> bool:
        """Whether the report is of this task too."""
        return re.fullmatch(self.tasks, task) is not None


@dataclass(frozen=True)
class Claim:
    """Ours against another method in one column. `held`: the other is not fine-tuned, so its 0 steps are taken."""

    against: str
    column: Column
    held: bool
    comparison: Comparison


def claims(results: Results, ours: str, references: Sequence[str] | None = None) -> list[Claim]:
    """Every comparison that was measured, by method, shots, steps. The controls are compared at 0 steps only."""
    others = [name for name in results.methods if name != ours and (references is None or name in references)]
    found = []
    for other in others:
        for column in results.columns:
            theirs = standing(results, other, column)
            compared = results.compare(ours, column, other, theirs) if theirs else None
            if compared and theirs:
                found.append(Claim(other, column, theirs != column, compared))
    return found


def standing(results: Results, method: str, column: Column) -> Column | None:
    """Where a method stands in a column: there, or at its 0 steps if it is never fine-tuned; None if nowhere."""
    shots, _ = column
    if results.cells(method, column):
        return column
    fixed = results.steps(shots, method) == [0] and method not in CONTROLS
    return (shots, 0) if fixed else None


@dataclass(frozen=True)
class Saving:
    """What a rival needs to reach the mean score that ours has after some steps.

    steps: of the rival, linear between measured points; None: not within `most` steps. seconds: CPU seconds a task.
    """

    rival: str
    column: Column
    target: float
    steps: float | None
    most: int
    ours_seconds: float
    rival_seconds: float | None


def savings(results: Results, settings: ReportSettings) -> list[Saving]:
    """For each rival, number of shots and `settings.at` of ours."""
    found = []
    for rival in settings.rivals:
        for shots in results.shots:
            counts = results.steps(shots, rival)
            for step in settings.at if len(counts) > 1 else ():
                made = _saving(results, settings.ours, rival, (shots, step))
                found += [made] if made else []
    return found


def _saving(results: Results, ours: str, rival: str, column: Column) -> Saving | None:
    shots, _ = column
    counts = results.steps(shots, rival)
    tasks = set(results.scores(ours, column)).intersection(*(results.scores(rival, (shots, n)) for n in counts))
    if not tasks:
        return None
    target = _mean(results, ours, column, tasks)
    curve = [_mean(results, rival, (shots, n), tasks) for n in counts]
    costs = [_seconds(results, rival, (shots, n), tasks) for n in counts]
    steps = crossing(counts, curve, target)
    seconds = None if steps is None else float(np.interp(steps, counts, costs))
    return Saving(rival, column, target, steps, max(counts), _seconds(results, ours, column, tasks), seconds)


def crossing(counts: Sequence[int], curve: Sequence[float], target: float) -> float | None:
    """The first (fractional) step at which a curve, linear between its points, is at least the target."""
    if curve[0] >= target:
        return float(counts[0])
    for place in range(1, len(counts)):
        low, high = curve[place - 1], curve[place]
        if high >= target:
            return counts[place - 1] + (target - low) / (high - low) * (counts[place] - counts[place - 1])
    return None


def _mean(results: Results, method: str, column: Column, tasks: set[str]) -> float:
    scores = results.scores(method, column)
    return float(np.mean([np.mean(list(scores[task].values())) for task in sorted(tasks)]))


def _seconds(results: Results, method: str, column: Column, tasks: set[str]) -> float:
    return float(np.mean([r.cpu_seconds for r in results.cells(method, column) if r.task in tasks]))


@dataclass(frozen=True)
class Recovered:
    """The share of the oracle's gain over no adapter that a method has; None where the oracle gains nothing."""

    method: str
    column: Column
    gain: Interval
    possible: Interval
    share: float | None


def recovered(results: Results, settings: ReportSettings) -> list[Recovered]:
    """For ours and its rivals: mean gain over no adapter divided by the oracle's, on the tasks that all have."""
    found = []
    for method in (settings.ours, *settings.rivals):
        for shots, steps in results.columns:
            bare = results.scores(BARE, (shots, 0))
            theirs = differences(results.scores(method, (shots, steps)), bare)
            best = differences(results.scores(settings.oracle, (shots, 0)), bare)
            tasks = sorted(theirs.keys() & best.keys())
            if tasks:
                gain, possible = (interval([list(rows[t].values()) for t in tasks]) for rows in (theirs, best))
                share = gain.mean / possible.mean if possible.mean > 0 else None
                found.append(Recovered(method, (shots, steps), gain, possible, share))
    return found


@dataclass(frozen=True)
class Calibration:
    """Mean confidence less accuracy, and the expected calibration error, over all answers of a column."""

    method: str
    column: Column
    gap: float
    ece: float


def calibration(results: Results) -> list[Calibration]:
    """Of every method with label probabilities. Ten bins over all tasks' answers: Guo et al. 2017, arXiv:1706.04599."""
    found = []
    for method in results.methods:
        for column in results.columns:
            rows = [row for record in results.cells(method, column) for row in record.bins or ()]
            if rows:
                found.append(Calibration(method, column, *_calibration(rows)))
    return found


def _calibration(rows: Sequence[Sequence[float]]) -> tuple[float, float]:
    table = np.zeros((10, 3))
    for place, *row in rows:
        table[int(place)] += row
    answers, confidence, right = table.T
    gap = (confidence - right).sum() / answers.sum()
    return float(gap), float(np.abs(confidence - right).sum() / answers.sum())


@dataclass(frozen=True)
class Spent:
    """Mean cost of adapting one task."""

    method: str
    column: Column
    cpu_seconds: float
    seconds: float
    flops: float
    peak_bytes: int | None
    joules: float | None
    parameters: int


def costs(results: Results) -> list[Spent]:
    """Of every method and column. peak_bytes: the largest of its groups of tasks."""
    return [_spent(results, m, c) for m in results.methods for c in results.columns if results.cells(m, c)]


def _spent(results: Results, method: str, column: Column) -> Spent:
    cells = results.cells(method, column)
    peaks = [r.peak_bytes for r in cells if r.peak_bytes is not None]
    joules = [r.joules for r in cells if r.joules is not None]
    return Spent(
        method,
        column,
        cpu_seconds=float(np.mean([r.cpu_seconds for r in cells])),
        seconds=float(np.mean([r.seconds for r in cells])),
        flops=float(np.mean([r.flops for r in cells])),
        peak_bytes=max(peaks) if peaks else None,
        joules=float(np.mean(joules)) if len(joules) == len(cells) else None,
        parameters=max(r.parameters for r in cells),
    )
