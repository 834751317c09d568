"""What a finished generator learns about itself: temperatures from meta-validation tasks, and where its tasks lie."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor

from hyperpeft.adaptation import FinetuneSettings, trajectory
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

    finetune_shots, steps, lr: of the fine-tunes behind the temperature of `fine-tuned`.
    """

    tasks: int = 24
    shots: list[int] = field(default_factory=lambda: [0, 1, 4])
    queries: int = 32
    finetune_shots: int = 4
    steps: list[int] = field(default_factory=lambda: [5, 20])
    lr: float = 1e-3


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
    temperatures = {name: fit_temperature(found) for name, found in answers.items()}
    if not temperatures:
        log.info("no temperature is fitted: no meta-validation task has a label set and examples enough")
    generator.calibration = Calibration(temperatures, _far(generator, validation))
    generator.about["calibration"] = {
        "meta_validation_tasks": [task.name for task in chosen],
        "settings": asdict(settings),
        "before and after, on these tasks themselves": {
            name: _effect(answers[name], temperature) for name, temperature in temperatures.items()
        },
    }
    log.info("temperatures: %s", temperatures)


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
    """By regime, for each episode the probabilities of its query `[row label]` and the right labels `[row]`."""
    found: dict[str, Answers] = {name: [] for name in REGIMES}
    for shots in settings.shots:
        for group in groups(_episodes(generator, tasks, shots, settings.queries)):
            for name, weights in _starts(generator, group, shots, settings):
                found[name] += _answered(generator, group, weights)
    return {name: answers for name, answers in found.items() if answers}


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


def _starts(
    generator: Generator, episodes: Sequence[Episode], shots: int, settings: CalibrationSettings
) -> Iterator[tuple[str, AdapterWeights]]:
    """Regimes with the weights that are in them."""
    backbone, asked = generator.backbone, [episode.with_query(()) for episode in episodes]
    generated = generator.generate(asked)
    yield "examples" if shots else "description", generated
    yield "shared adapter", generator.shared(len(episodes))
    yield "no adapter", backbone.start(generator.hypernetwork.adapter, tasks=len(episodes))
    if shots and shots == settings.finetune_shots:
        run = trajectory(backbone, generated, asked, FinetuneSettings(lr=settings.lr), settings.steps)
        yield from (("fine-tuned", tuned) for tuned in run)


def _answered(generator: Generator, episodes: Sequence[Episode], weights: AdapterWeights) -> Answers:
    with generator.backbone.adapted(weights):
        rows = generator.backbone.probabilities(episodes)
    right = [torch.tensor([e.labels.index(example.output) for example in e.query]) for e in episodes]
    return list(zip(rows, right, strict=True))
