"""Few-shot adaptation measured: methods x tasks x shots x fine-tune steps x seeds -> records."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import track

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.backbones import Backbone
from hyperpeft.baselines import Method
from hyperpeft.episodes import draw_episode
from hyperpeft.metrics import METRICS
from hyperpeft.tasks import Episode, Task, TaskError

log = logging.getLogger(__name__)
GROUP = 8


@dataclass
class EvaluationSettings:
    """Which cells are measured. `steps` are fine-tune steps; 0 is the start as proposed. `queries` examples a task."""

    shots: list[int] = field(default_factory=lambda: [0, 4])
    steps: list[int] = field(default_factory=lambda: [0, 20])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    queries: int = 48
    shared_baseline: bool = True


@dataclass(frozen=True)
class Record:
    """One cell: the score in [0, 1] of a method on a task's query after so many steps, and what adapting took."""

    method: str
    task: str
    shots: int
    steps: int
    seed: int
    metric: str
    score: float
    seconds: float


def run_benchmark(
    methods: Sequence[Method], tasks: Sequence[Task], backbone: Backbone[Any], settings: EvaluationSettings
) -> list[Record]:
    """Every cell. All methods see the same support and query; fine-tuning, prediction and scoring are one code.

    Tasks with too few examples for a number of shots are left out for all methods, with a warning that counts them.
    """
    cells = [(shots, seed) for shots in settings.shots for seed in settings.seeds]
    records: list[Record] = []
    for shots, seed in track(cells, description="evaluating", console=Console(stderr=True)):
        episodes = list(_episodes(tasks, shots, seed, settings.queries))
        for method in methods if episodes else ():
            records += _method_records(method, episodes, backbone, settings.steps, shots, seed)
    return records


def _episodes(tasks: Sequence[Task], shots: int, seed: int, queries: int) -> Iterator[Episode]:
    skipped = []
    for task in sorted(tasks, key=lambda task: (task.family, task.name)):
        try:
            yield draw_episode(task, shots=shots, queries=queries, seed=seed)
        except TaskError:
            skipped.append(task.name)
    if skipped:
        log.warning("%d tasks have too few examples for %d shots and are left out: %s", len(skipped), shots, skipped)


def _method_records(
    method: Method, episodes: Sequence[Episode], backbone: Backbone[Any], steps: Sequence[int], shots: int, seed: int
) -> Iterator[Record]:
    begun = time.perf_counter()
    start = method.adapt(backbone, episodes)
    proposing = (time.perf_counter() - begun) / len(episodes)
    for count in steps:
        if count and not (method.trainable and shots):
            continue
        for first in range(0, len(episodes), GROUP):
            part = episodes[first : first + GROUP]
            begun = time.perf_counter()
            tuning = FinetuneSettings(steps=count, lr=method.lr, seed=seed)
            weights = start[first : first + GROUP]
            weights = finetune(backbone, weights, part, tuning) if count else weights
            seconds = proposing + (time.perf_counter() - begun) / len(part)
            with backbone.adapted(weights):
                predicted = backbone.predict(part)
            for episode, texts in zip(part, predicted, strict=True):
                score = METRICS[episode.metric](texts, [example.output for example in episode.query])
                yield Record(method.name, episode.task, shots, count, seed, episode.metric, score, seconds)
