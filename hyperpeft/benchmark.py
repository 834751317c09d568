"""Few-shot adaptation measured: methods x tasks x shots x fine-tune steps x seeds -> records, written as they come."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch

from hyperpeft.adaptation import FinetuneSettings
from hyperpeft.backbones import Backbone
from hyperpeft.baselines import Adaptation, Answers, Method
from hyperpeft.cost import Meter, flops
from hyperpeft.episodes import draw_episode
from hyperpeft.metrics import METRICS
from hyperpeft.progress import followed
from hyperpeft.recoding import recode
from hyperpeft.records import Record, append_records, read_records
from hyperpeft.tasks import Episode, Example, Task, TaskError

log = logging.getLogger(__name__)
GROUP = 8


@dataclass
class EvaluationSettings:
    """Which cells are measured. `steps` are fine-tune steps; 0 is the start as proposed. `queries` examples a task.

    labels: `own`, or `codes`: label sets renamed to codes (A, B, ...) whose key only the description tells.
    """

    shots: list[int] = field(default_factory=lambda: [0, 4])
    steps: list[int] = field(default_factory=lambda: [0, 20])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    queries: int = 48
    labels: Literal["own", "codes"] = "own"


@dataclass(frozen=True)
class Cost:
    """What adapting one task took so far."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    flops: int = 0
    peak_bytes: int | None = None
    joules: float | None = None

    def then(self, meter: Meter, operations: int, tasks: int) -> "Cost":
        """With a measured piece of work for so many tasks added."""
        peaks = [peak for peak in (self.peak_bytes, meter.peak_bytes) if peak is not None]
        joules = None if meter.joules is None else (self.joules or 0.0) + meter.joules / tasks
        return Cost(
            self.seconds + meter.seconds / tasks,
            self.cpu_seconds + meter.cpu_seconds / tasks,
            self.flops + operations // tasks,
            max(peaks) if peaks else None,
            joules,
        )


@dataclass(frozen=True)
class Cell:
    """One running piece: a method on a group of episodes of one number of shots and one seed."""

    method: Method
    episodes: Sequence[Episode]
    shots: int
    seed: int

    def __str__(self) -> str:
        return f"{self.method.name}, {self.shots} shots, seed {self.seed}"

    def keys(self, steps: Sequence[int]) -> set[tuple[Any, ...]]:
        """(method, task, shots, steps, seed) of its records."""
        counts = self.steps(steps)
        return {(self.method.name, e.task, self.shots, count, self.seed) for e in self.episodes for count in counts}

    def steps(self, steps: Sequence[int]) -> list[int]:
        """The steps that make sense: 0 alone without support or for a method that is not fine-tuned."""
        return sorted({*steps, 0}) if self.method.trainable and self.shots else [0]

    def work(self, steps: Sequence[int]) -> int:
        """How many texts pass through the backbone, three for one with gradients; proposing the start not counted."""
        counts = self.steps(steps)
        shown = sum(len(e.support) + len(e.labels) for e in self.episodes)
        asked = sum(len(e.query) for e in self.episodes)
        a_step = sum(min(len(e.support), FinetuneSettings.rows) + len(e.labels) for e in self.episodes)
        return len(counts) * (shown + asked) + 3 * max(counts) * a_step


def run_benchmark(
    methods: Sequence[Method],
    tasks: Sequence[Task],
    backbone: Backbone[Any],
    settings: EvaluationSettings,
    *,
    file: Path | None = None,
    lrs: Mapping[str, float] | None = None,
) -> list[Record]:
    """Every record that `file` does not hold yet, appended to it cell by cell; returns all, old and new.

    All methods see the same support and query; fine-tuning, prediction and scoring are one code. `lrs`: step size of
    the fine-tune by method name (1e-3 otherwise). Tasks with too few examples for a number of shots are left out for
    all methods (`too_few` says which), with a warning that counts them. An interrupted run loses the running cell.
    """
    records = read_records(file) if file and file.exists() else []
    done = {r.key for r in records}
    cells = [cell for cell in cells_of(methods, tasks, settings) if not cell.keys(settings.steps) <= done]
    counted: dict[tuple[Any, ...], int] = {}
    steps = settings.steps
    for cell in followed(cells, lambda cell: cell.work(steps), str, name="measuring"):
        lr = (lrs or {}).get(cell.method.name, 1e-3)
        new = [r for r in _measure(cell, backbone, steps, lr, counted) if r.key not in done]
        records += new
        if file:
            append_records(new, file)
    return records


def cells_of(methods: Sequence[Method], tasks: Sequence[Task], settings: EvaluationSettings) -> Iterator[Cell]:
    """Every cell of a benchmark, those of all methods on the same draws beside each other."""
    few = too_few(tasks, settings)
    for shots in settings.shots:
        if few[shots]:
            message = "%d tasks have too few examples for %d shots and are left out: %s"
            log.warning(message, len(few[shots]), shots, few[shots])
        kept = [task for task in _in_order(tasks) if task.name not in few[shots]]
        _warn_of_large(methods, kept, shots)
        for seed in settings.seeds:
            episodes = [_drawn(task, shots, seed, settings) for task in kept]
            for method in methods:
                if method.needs_support and not shots:
                    continue
                for group in groups([episode for episode in episodes if _fits(method, episode)]):
                    yield Cell(method, group, shots, seed)


def _warn_of_large(methods: Sequence[Method], tasks: Sequence[Task], shots: int) -> None:
    sizes = [shots * max(1, len(task.labels)) for task in tasks]
    for method in methods:
        if missing := sum(method.most_support is not None and size > method.most_support for size in sizes):
            message = "%s takes %s examples at most: %d tasks left out with %d shots"
            log.warning(message, method.name, method.most_support, missing, shots)


def _fits(method: Method, episode: Episode) -> bool:
    return method.most_support is None or len(episode.support) <= method.most_support


def _drawn(task: Task, shots: int, seed: int, settings: EvaluationSettings) -> Episode:
    episode = draw_episode(task, shots=shots, queries=settings.queries, seed=seed)
    coded = settings.labels == "codes" and episode.labels
    return recode(episode, Random(f"{seed}/{task.name}/codes")) if coded else episode


def too_few(tasks: Sequence[Task], settings: EvaluationSettings) -> dict[int, list[str]]:
    """For each number of shots the tasks that have too few examples for it (with any of the seeds): never measured."""
    return {
        shots: [task.name for task in _in_order(tasks) if _lacks(task, shots, settings)] for shots in settings.shots
    }


def _lacks(task: Task, shots: int, settings: EvaluationSettings) -> bool:
    try:
        for seed in settings.seeds:
            draw_episode(task, shots=shots, queries=settings.queries, seed=seed)
    except TaskError:
        return True
    return False


def _in_order(tasks: Sequence[Task]) -> list[Task]:
    return sorted(tasks, key=lambda task: (task.family, task.name))


def groups(episodes: Sequence[Episode], size: int = GROUP) -> list[list[Episode]]:
    """Parts of nearly equal size, at most `size`, each spread over the whole list and so over families."""
    count = -(-len(episodes) // size)
    return [list(episodes[first::count]) for first in range(count)]


def _measure(
    cell: Cell, backbone: Backbone[Any], steps: Sequence[int], lr: float, counted: dict[tuple[Any, ...], int]
) -> Iterator[Record]:
    """The records of a cell. The method is given the query without its outputs."""
    method, tasks = cell.method, len(cell.episodes)
    asked = [_blank(episode) for episode in cell.episodes]
    with Meter() as meter:
        adaptation = method.adapt(backbone, asked)
    operations = _counted(counted, cell, "adapt", lambda: method.adapt(backbone, asked))
    cost = Cost().then(meter, operations, tasks)
    yield from _records(cell, adaptation, 0, cost)
    counts = [count for count in cell.steps(steps) if count]
    if not counts:
        return
    settings = FinetuneSettings(lr=lr, seed=cell.seed)
    step = _counted(counted, cell, "step", lambda: list(adaptation.trained([1], settings)))
    run = adaptation.trained(counts, settings)
    for count, before in zip(counts, [0, *counts], strict=False):
        with Meter() as meter:
            tuned = next(run)
        cost = cost.then(meter, step * (count - before), tasks)
        yield from _records(cell, tuned, count, cost)


def _counted(counted: dict[tuple[Any, ...], int], cell: Cell, part: str, work: Callable[[], object]) -> int:
    """Operations of the work for this cell's tasks; counting slows work down, so once a method and number of shots."""
    key = (cell.method.name, cell.shots, part)
    if key not in counted:
        counted[key] = flops(work) // len(cell.episodes)
    return counted[key] * len(cell.episodes)


def _blank(episode: Episode) -> Episode:
    return replace(episode, query=tuple(Example(example.input, "") for example in episode.query))


def _records(cell: Cell, adaptation: Adaptation, steps: int, cost: Cost) -> Iterator[Record]:
    for episode, answers in zip(cell.episodes, adaptation.answers(), strict=True):
        expected = [example.output for example in episode.query]
        yield Record(
            method=cell.method.name,
            task=episode.task,
            shots=cell.shots,
            steps=steps,
            seed=cell.seed,
            metric=episode.metric,
            score=METRICS[episode.metric](answers.texts, expected),
            parameters=adaptation.parameters,
            **_likelihood(episode, answers),
            **asdict(cost),
        )


def _likelihood(episode: Episode, answers: Answers) -> dict[str, Any]:
    """loss, confidence and bins of a record."""
    if answers.probabilities is None:
        return {"loss": None, "confidence": None, "bins": None}
    right = torch.tensor([episode.labels.index(example.output) for example in episode.query])
    probabilities = answers.probabilities.detach().cpu().double().clamp(min=1e-12)
    loss = -probabilities[torch.arange(len(right)), right].log().mean()
    confidences, chosen = probabilities.max(dim=1)
    bins = _bins(confidences.tolist(), (chosen == right).tolist())
    return {"loss": float(loss), "confidence": float(confidences.mean()), "bins": bins}


def _bins(confidences: Sequence[float], right: Sequence[bool]) -> list[list[float]]:
    """Ten bins of equal width. Guo et al. 2017, arXiv:1706.04599."""
    found: dict[int, list[float]] = {}
    for confidence, is_right in zip(confidences, right, strict=True):
        place = min(9, int(10 * confidence))
        row = found.setdefault(place, [place, 0, 0.0, 0])
        row[1] += 1
        row[2] += confidence
        row[3] += is_right
    return [found[place] for place in sorted(found)]
