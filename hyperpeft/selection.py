"""Which start does best for a task, asked of its own examples by cross-validation."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random

import torch

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights

ENOUGH = 8
FOLDS = 4
SIMPLE = ("no adapter", "shared adapter")
Start = Callable[[Sequence[Episode]], AdapterWeights]


def choose(
    generator: Generator, episode: Episode, generated: AdapterWeights, settings: FinetuneSettings, seed: int = 0
) -> tuple[str, AdapterWeights]:
    """Name and weights of the start with the lowest cross-validated loss; of equals the simplest.

    `generated`: what the generator (and a fine-tune of `settings.steps` steps, if any) made of the whole episode. The
    others are `no adapter` and `shared adapter`. Raises ValueError for fewer examples than ENOUGH.
    """
    if len(episode.support) < ENOUGH:
        raise ValueError(f"task {episode.task!r} has {len(episode.support)} examples: to choose takes {ENOUGH}.")
    starts = _starts(generator, settings)
    losses = cross_validated(generator, episode, starts, seed)
    name = min(losses, key=lambda name: losses[name])
    whole = {"fine-tuned" if settings.steps else "generated": generated}
    return name, whole[name] if name in whole else _formed(starts[name]([episode]), generated)


def choose_simple(
    generator: Generator, episode: Episode, like: AdapterWeights, seed: int = 0
) -> tuple[str, AdapterWeights]:
    """Name and weights of a start without the task's own part, in the form of `like`: a name in SIMPLE.

    The one of lower cross-validated loss from ENOUGH examples on; with fewer the shared adapter.
    """
    starts = {name: start for name, start in _starts(generator, FinetuneSettings(steps=0)).items() if name in SIMPLE}
    name = "shared adapter"
    if len(episode.support) >= ENOUGH:
        losses = cross_validated(generator, episode, starts, seed)
        name = min(losses, key=lambda name: losses[name])
    return name, _formed(starts[name]([episode]), like)


def _formed(weights: AdapterWeights, like: AdapterWeights) -> AdapterWeights:
    """With the read-out tensors of another value, zero (they then say nothing), so that both can be stacked."""
    empty = {name: torch.zeros_like(value) for name, value in like.readout.items()}
    return replace(weights, readout={**empty, **weights.readout})


def cross_validated(generator: Generator, episode: Episode, starts: Mapping[str, Start], seed: int) -> dict[str, float]:
    """Mean loss of each start on examples that it was not made from: FOLDS parts, each left out once."""
    backbone, parts = generator.backbone, folds(episode, seed)
    sizes = torch.tensor([len(part.query) for part in parts], dtype=torch.float)
    losses = {}
    for name, start in starts.items():
        with generator.text_encoder.together():
            weights = start([part.with_query(()) for part in parts])
        with torch.no_grad(), backbone.adapted(weights):
            loss = backbone.loss(backbone.query_batch(parts)).cpu()
        losses[name] = float((loss * sizes).sum() / sizes.sum())
    return losses


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
