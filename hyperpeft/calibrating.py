"""What a finished generator learns about itself: temperatures and a step size from meta-validation tasks, and more."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor

from hyperpeft.adaptation import FinetuneSettings, trajectories
from hyperpeft.benchmark import groups
from hyperpeft.calibration import REGIMES, Calibration, calibration_errors, fit_temperature
from hyperpeft.episodes import draw_episode
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode, Task
from hyperpeft.trained_tasks import TrainedTasks
from hyperpeft.tuning import spread
from hyperpeft.weights import AdapterWeights

log = logging.getLogger(__name__)
FAR = 0.95
Answers = list[tuple[Tensor, Tensor]]


@dataclass
class CalibrationSettings:
    """On what temperatures are fitted: at most `tasks` meta-validation tasks, one draw each for a number of shots.

    finetune_shots, steps, lrs: of the fine-tunes behind the temperature of `fine-tuned`. Of the step sizes `lrs` that
    one is kept which has the least loss at its own temperature, over all of `steps`. 0 shots or no `lrs`: none.
    """

    tasks: int = 24
    shots: list[int] = field(default_factory=lambda: [0, 1, 4])
    queries: int = 32
    finetune_shots: int = 4
    steps: list[int] = field(default_factory=lambda: [5, 20])
    lrs: list[float] = field(default_factory=lambda: [3e-4, 1e-3])


def calibrate(
    generator: Generator,
    train: Sequence[Task],
    validation: Sequence[Task],
    settings: CalibrationSettings | None = None,
) -> None:
    """Set the generator's `calibration` and `trained_tasks`; `about["calibration"]` says from what and how well.

    Looks at the meta-validation tasks' answers only, never at a test task; of the meta-train tasks it keeps where
    their descriptions lie. Deterministic. Tasks without label sets have no probabilities: where there are no others,
    no temperature is fitted, and a log line says so.
    """
    settings = settings or CalibrationSettings()
    generator.trained_tasks = TrainedTasks.of(train, generator.text_encoder)
    labelled = [task for task in validation if task.labels]
    chosen = spread(labelled, settings.tasks)
    answers = _answers(generator, chosen, settings)
    lr, losses = None, {}
    if tuned := _fine_tuned(generator, chosen, settings):
        losses = {lr: calibration_errors(found, fit_temperature(found))[0] for lr, found in tuned.items()}
        lr = min(losses, key=lambda lr: (losses[lr], lr))
        answers["fine-tuned"] = tuned[lr]
    temperatures = {name: fit_temperature(answers[name]) for name in REGIMES if name in answers}
    if not temperatures:
        log.info("no temperature is fitted: no meta-validation task has a label set and examples enough")
    generator.calibration = Calibration(temperatures, _far(generator, validation), lr)
    generator.about["calibration"] = {
        "meta_validation_tasks": [task.name for task in chosen],
        "settings": asdict(settings),
        "calibrated loss after a fine-tune, by step size": {lr: round(loss, 4) for lr, loss in losses.items()},
        "before and after, on these tasks themselves": {
            name: _effect(answers[name], temperature) for name, temperature in temperatures.items()
        },
    }
    log.info("temperatures: %s; step size of a fine-tune: %s", temperatures, lr)


def _effect(answers: Answers, temperature: float) -> dict[str, list[float]]:
    before, after = (calibration_errors(answers, value) for value in (1.0, temperature))
    pairs = zip(("negative log-likelihood", "expected calibration error"), before, after, strict=True)
    return {name: [round(one, 4), round(two, 4)] for name, one, two in pairs}


def _far(generator: Generator, tasks: Sequence[Task]) -> float | None:
    known = generator.trained_tasks
    if known is None:
        return None
    found = [known.distance(task.descriptions, generator.text_encoder) for task in tasks]
    distances = [distance for distance in found if distance is not None]
    return round(float(np.quantile(distances, FAR)), 4) if distances else None


def _answers(generator: Generator, tasks: Sequence[Task], settings: CalibrationSettings) -> dict[str, Answers]:
    """By regime but `fine-tuned`: of each query the probabilities `[row label]` and right labels `[row]`."""
    found: dict[str, Answers] = {name: [] for name in REGIMES}
    for shots in settings.shots:
        for group in groups(_episodes(generator, tasks, shots, settings.queries)):
            for name, weights in _starts(generator, group, shots):
                found[name] += _answered(generator, group, weights)
    return {name: answers for name, answers in found.items() if answers}


def _fine_tuned(generator: Generator, tasks: Sequence[Task], settings: CalibrationSettings) -> dict[float, Answers]:
    """By step size, as `_answers`, after each of the numbers of steps; nothing without shots or step sizes."""
    if not (settings.finetune_shots and settings.lrs):
        return {}
    found: dict[float, Answers] = {lr: [] for lr in settings.lrs}
    for group in groups(_episodes(generator, tasks, settings.finetune_shots, settings.queries)):
        asked = [episode.with_query(()) for episode in group]
        start, plain = generator.generate(asked), FinetuneSettings()
        for weights in trajectories(generator.backbone, start, asked, plain, settings.steps, settings.lrs):
            for place, lr in enumerate(settings.lrs):
                found[lr] += _answered(generator, group, weights[place * len(group) : (place + 1) * len(group)])
    return {lr: answers for lr, answers in found.items() if answers}


def _episodes(generator: Generator, tasks: Sequence[Task], shots: int, queries: int) -> list[Episode]:
    """Of the tasks that have examples enough and can be done with so many."""
    drawn = []
    for task in tasks:
        try:
            episode = draw_episode(task, shots=shots, queries=queries, seed=0)
            generator.backbone.check(episode)
        except ValueError:
            continue
        drawn.append(episode)
    return drawn


def _starts(generator: Generator, episodes: Sequence[Episode], shots: int) -> Iterator[tuple[str, AdapterWeights]]:
    """Regimes with the weights that are in them."""
    backbone, asked = generator.backbone, [episode.with_query(()) for episode in episodes]
    generated = generator.generate(asked)
    yield "examples" if shots else "description", generated
    yield "shared adapter", generator.shared(len(episodes))
    yield "no adapter", backbone.start(generator.hypernetwork.adapter, tasks=len(episodes))


def _answered(generator: Generator, episodes: Sequence[Episode], weights: AdapterWeights) -> Answers:
    with generator.backbone.adapted(weights):
        rows = generator.backbone.probabilities(episodes)
    right = [torch.tensor([e.labels.index(example.output) for example in e.query]) for e in episodes]
    return list(zip(rows, right, strict=True))
