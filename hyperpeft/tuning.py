"""The step size of each method's fine-tune, chosen once on meta-validation tasks and recorded."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hyperpeft.backbones import Backbone
from hyperpeft.baselines import Method
from hyperpeft.benchmark import EvaluationSettings, run_benchmark
from hyperpeft.records import Record
from hyperpeft.tasks import Task

log = logging.getLogger(__name__)


@dataclass
class TuningSettings:
    """How step sizes are chosen: the same candidates, tasks, shots, steps and seeds for every trainable method.

    tasks: at most so many meta-validation tasks, spread evenly over families.
    """

    lrs: list[float] = field(default_factory=lambda: [3e-4, 1e-3, 3e-3, 1e-2])
    shots: list[int] = field(default_factory=lambda: [4])
    steps: list[int] = field(default_factory=lambda: [20])
    seeds: list[int] = field(default_factory=lambda: [0])
    queries: int = 32
    tasks: int = 16

    def __post_init__(self) -> None:
        if not self.lrs or not all(lr > 0 for lr in self.lrs):
            raise ValueError(f"tuning.lrs is {self.lrs}: give one or more step sizes above 0.")
        if not any(self.shots) or not any(self.steps):
            raise ValueError("tuning needs a number of shots and of steps above 0: step sizes do nothing without.")


@dataclass(frozen=True)
class Tuned:
    """The step size chosen for a method, and each candidate's mean score on the meta-validation tasks."""

    chosen: float
    scores: Mapping[float, float]


def tune(
    methods: Sequence[Method],
    tasks: Sequence[Task],
    backbone: Backbone[Any],
    settings: TuningSettings,
    folder: Path,
    labels: Literal["own", "codes"] = "own",
) -> dict[str, Tuned]:
    """For each trainable method the candidate with the best mean score; of equals that of lower loss, then the smaller.

    `labels` as in EvaluationSettings. Records go to `folder/lr-<step size>.jsonl`; what is there is not measured again.
    """
    trainable = [method for method in methods if method.trainable]
    chosen = spread(tasks, settings.tasks)
    cells = EvaluationSettings(settings.shots, settings.steps, settings.seeds, settings.queries, labels)
    found: dict[float, list[Record]] = {}
    for lr in settings.lrs:
        names = {method.name: lr for method in trainable}
        log.info("step size %g on %d meta-validation tasks", lr, len(chosen))
        found[lr] = run_benchmark(trainable, chosen, backbone, cells, file=folder / f"lr-{lr:g}.jsonl", lrs=names)
    return {method.name: _choose(method.name, found) for method in trainable}


def spread(tasks: Sequence[Task], most: int) -> list[Task]:
    """At most so many tasks, spread evenly over the list in order of family and name."""
    ordered = sorted(tasks, key=lambda task: (task.family, task.name))
    count = min(most, len(ordered))
    return [ordered[place * len(ordered) // count] for place in range(count)]


def _choose(method: str, found: Mapping[float, Sequence[Record]]) -> Tuned:
    scores, losses = {}, {}
    for lr, records in found.items():
        tuned = [record for record in records if record.method == method and record.steps]
        scores[lr] = float(np.mean([record.score for record in tuned]))
        losses[lr] = float(np.mean([record.loss for record in tuned if record.loss is not None] or [0.0]))
    return Tuned(min(scores, key=lambda lr: (-scores[lr], losses[lr], lr)), scores)
