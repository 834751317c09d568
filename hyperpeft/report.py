"""Records as tables: means over tasks with bootstrap intervals, and paired differences."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table
from scipy.stats import bootstrap

from hyperpeft.benchmark import Record

Column = tuple[int, int]


@dataclass(frozen=True)
class Interval:
    """A mean over tasks with its 95 % interval (percentile bootstrap over tasks, seeds averaged within a task)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def by_task(records: Sequence[Record], method: str, column: Column) -> dict[str, float]:
    """Score of each task, averaged over seeds, in one (shots, steps) column."""
    scores: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if (record.method, record.shots, record.steps) == (method, *column):
            scores[record.task].append(record.score)
    return {task: float(np.mean(values)) for task, values in sorted(scores.items())}


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % bootstrap interval over tasks (scipy, 2,000 resamples, fixed seed)."""
    sample = np.asarray(values)
    if len(sample) < 2 or np.ptp(sample) == 0:
        return Interval(float(sample.mean()), float(sample.mean()), float(sample.mean()))
    found = bootstrap((sample,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0))
    return Interval(float(sample.mean()), *map(float, found.confidence_interval))


def difference(records: Sequence[Record], method: str, reference: str, column: Column) -> Interval | None:
    """Paired difference of two methods over the tasks that both have; None if one has no such cell."""
    ours, theirs = by_task(records, method, column), by_task(records, reference, column)
    common = sorted(ours.keys() & theirs.keys())
    return interval([ours[task] - theirs[task] for task in common]) if common else None


def score_table(records: Sequence[Record], *, title: str, reference: str) -> Table:
    """Methods by (shots, steps): mean score in percent with its interval, and the difference to the reference."""
    columns = sorted({(record.shots, record.steps) for record in records})
    tasks = len({record.task for record in records})
    seeds = len({record.seed for record in records})
    table = Table(
        title=title,
        caption=f"mean score in % over {tasks} tasks x {seeds} seeds [95 % bootstrap over tasks]; "
        f"d: paired difference to '{reference}'",
    )
    table.add_column("method")
    for shots, steps in columns:
        table.add_column(f"{shots} shots, {steps} steps", justify="right")
    for method in dict.fromkeys(record.method for record in records):
        table.add_row(method, *(_cell(records, method, reference, column) for column in columns))
    return table


def summary(records: Sequence[Record]) -> dict[str, dict[str, str]]:
    """Method -> `shots x steps` -> mean and interval as text: what a model card tells."""
    columns = sorted({(record.shots, record.steps) for record in records})
    found: dict[str, dict[str, str]] = {}
    for method in dict.fromkeys(record.method for record in records):
        for shots, steps in columns:
            if scores := by_task(records, method, (shots, steps)):
                row = found.setdefault(method, {})
                row[f"{shots} shots, {steps} steps"] = str(interval(list(scores.values())))
    return found


def _cell(records: Sequence[Record], method: str, reference: str, column: Column) -> str:
    scores = by_task(records, method, column)
    if not scores:
        return "-"
    cell = str(interval(list(scores.values())))
    gap = None if method == reference else difference(records, method, reference, column)
    return f"{cell}\nd {gap}" if gap else cell
