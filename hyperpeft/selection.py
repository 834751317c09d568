"""Which start does best for a task, asked of its own examples by cross-validation."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random

import torch
from torch import Tensor

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.calibration import Calibration, regime
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights

ENOUGH = 8
FOLDS = 4
TINY = 1e-12
SIMPLE = ("no adapter", "shared adapter")
Start = Callable[[Sequence[Episode]], AdapterWeights]


def choose(
    generator: Generator, episode: Episode, generated: AdapterWeights, settings: FinetuneSettings, seed: int = 0
) -> tuple[str, AdapterWeights]:
    """Name and weights of the simplest start whose cross-validated loss is as good as the best (`preferred`).

    `generated`: what the generator (and a fine-tune of `settings.steps` steps, if any) made of the whole episode. The
    others are `no adapter` and `shared adapter`. Raises ValueError for fewer examples than ENOUGH.
    """
    if len(episode.support) < ENOUGH:
        raise ValueError(f"task {episode.task!r} has {len(episode.support)} examples: to choose takes {ENOUGH}.")
    starts = _starts(generator, settings)
    name = preferred(cross_validated(generator, episode, starts, seed))
    whole = {"fine-tuned" if settings.steps else "generated": generated}
    return name, whole[name] if name in whole else _formed(starts[name]([episode]), generated)


def choose_simple(
    generator: Generator, episode: Episode, like: AdapterWeights, seed: int = 0
) -> tuple[str, AdapterWeights]:
    """Name and weights of a start without the task's own part, in the form of `like`: a name in SIMPLE.

    By `preferred` from ENOUGH examples on; with fewer the shared adapter.
    """
    starts = {name: start for name, start in _starts(generator, FinetuneSettings(steps=0)).items() if name in SIMPLE}
    name = "shared adapter"
    if len(episode.support) >= ENOUGH:
        name = preferred(cross_validated(generator, episode, starts, seed))
    return name, _formed(starts[name]([episode]), like)


def _formed(weights: AdapterWeights, like: AdapterWeights) -> AdapterWeights:
    """With the read-out tensors of another value, zero (they then say nothing), so that both can be stacked."""
    empty = {name: torch.zeros_like(value) for name, value in like.readout.items()}
    return replace(weights, readout={**empty, **weights.readout})


def preferred(losses: Mapping[str, Tensor]) -> str:
    """The first start, simplest first, that is no worse than the best one by more than a standard error.

    The one-standard-error rule (Breiman et al. 1984, Classification and Regression Trees, section 3.4.3), with the
    error of the paired difference: what a few examples cannot tell apart is decided for the simpler start. One whose
    loss is not a number is never taken.
    """
    best = min(losses, key=lambda name: float(losses[name].mean().nan_to_num(math.inf)))
    worse = {name: own - losses[best] for name, own in losses.items()}
    return next(name for name, more in worse.items() if more.mean() <= more.std() / len(more) ** 0.5)


def cross_validated(
    generator: Generator, episode: Episode, starts: Mapping[str, Start], seed: int
) -> dict[str, Tensor]:
    """Losses of each start on examples that it was not made from: FOLDS parts, each left out once.

    Of a task with labels `[example]`, minus log of the right label's probability at the temperature that the generator
    has for such a start, so that one that is too sure of itself does not lose for that alone; else `[part]`, the mean
    loss of each part.
    """
    backbone, parts = generator.backbone, folds(episode, seed)
    losses = {}
    for name, start in starts.items():
        with generator.text_encoder.together():
            weights = start([part.with_query(()) for part in parts])
        with torch.no_grad(), backbone.adapted(weights):
            if not episode.labels:
                losses[name] = backbone.loss(backbone.query_batch(parts)).cpu().float()
                continue
            probabilities = backbone.probabilities(parts)
        calibration = generator.calibration or Calibration({})
        known = regime(name, name == "fine-tuned", shown=True)
        losses[name] = torch.cat(
            [_surprise(calibration.apply(p, known), part) for p, part in zip(probabilities, parts, strict=True)]
        )
    return losses


def _surprise(probabilities: Tensor, part: Episode) -> Tensor:
    right = torch.tensor([part.labels.index(example.output) for example in part.query])
    return -probabilities.float().clamp(min=TINY).log()[torch.arange(len(right)), right]


def folds(episode: Episode, seed: int, count: int = FOLDS) -> list[Episode]:
    """So many episodes whose query is a part of the support and whose support is the rest.

    The parts are of nearly one size and each label is spread over them: two examples of a label stand in two parts.
    """
    shuffled = Random(f"{seed}/{episode.task}/folds").sample(episode.support, len(episode.support))
    order = sorted(shuffled, key=lambda example: example.output)
    return [
        replace(
            episode,
            support=tuple(e for place, e in enumerate(order) if place % count != fold),
            query=tuple(order[fold::count]),
        )
        for fold in range(count)
    ]


def divisible(episode: Episode) -> bool:
    """Whether examples can be left out in turn: two or more of each label, FOLDS or more where there are no labels."""
    counts = Counter(example.output for example in episode.support)
    if episode.labels:
        return all(counts[label] >= 2 for label in episode.labels)
    return len(episode.support) >= FOLDS


def _starts(generator: Generator, settings: FinetuneSettings) -> dict[str, Start]:
    """From the simplest to the dearest."""
    backbone, adapter = generator.backbone, generator.hypernetwork.adapter
    starts: dict[str, Start] = {
        "no adapter": lambda episodes: backbone.start(adapter, tasks=len(episodes)),
        "shared adapter": lambda episodes: generator.shared(len(episodes)),
    }
    if settings.steps:
        starts["fine-tuned"] = lambda episodes: finetune(backbone, generator.generate(episodes), episodes, settings)
    else:
        starts["generated"] = generator.generate
    return starts
