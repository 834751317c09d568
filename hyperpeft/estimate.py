"""How long a benchmark will take, told from timed pieces of it."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from hyperpeft.adaptation import FinetuneSettings
from hyperpeft.backbones import Backbone
from hyperpeft.baselines import Scratch
from hyperpeft.benchmark import Cell, EvaluationSettings, cells_of
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode, Task


def minutes(cells: Iterable[Cell], tasks: Sequence[Task], generator: Generator, settings: EvaluationSettings) -> float:
    """Of measuring the cells here: texts through the backbone, times the seconds of one, timed once for each shots.

    What a method does itself before step 0 is not in it.
    """
    timed: dict[int, float] = {}
    seconds = 0.0
    for cell in cells:
        if cell.shots not in timed:
            timed[cell.shots] = _seconds_per_text(_probe(cell.shots, tasks, generator, settings), generator.backbone)
        seconds += cell.work(settings.steps) * timed[cell.shots]
    return seconds / 60


def _probe(shots: int, tasks: Sequence[Task], generator: Generator, settings: EvaluationSettings) -> Cell:
    """One group of tasks, to be fine-tuned from scratch for one step."""
    one = EvaluationSettings([shots], [1], settings.seeds[:1], settings.queries)
    return next(iter(cells_of([Scratch(generator.hypernetwork.adapter)], tasks, one)))


def _seconds_per_text(cell: Cell, backbone: Backbone[Any]) -> float:
    start = cell.method.adapt(backbone, cell.episodes)
    start.answers()  # the first time is slower
    begun = time.perf_counter()
    start.answers()
    for tuned in start.trained([1], FinetuneSettings()) if cell.shots else ():
        tuned.answers()
    return (time.perf_counter() - begun) / cell.work([1])


def minutes_of_meta_training(generator: Generator, episodes: Sequence[Episode], steps: int) -> float:
    """Of so many supervised steps on meta-batches like this one; objectives with inner steps take a multiple of it."""
    parameters = [parameter for parameter in generator.parameters() if parameter.requires_grad]
    begun = time.perf_counter()
    weights = generator(episodes)
    with generator.backbone.adapted(weights, train=True):
        loss = generator.backbone.loss(generator.backbone.query_batch(episodes)).sum()
        torch.autograd.grad(loss, parameters, allow_unused=True)
    return steps * (time.perf_counter() - begun) / 60
