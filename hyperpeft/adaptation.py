"""Brief fine-tuning of adapter weights, and the differentiable inner loop."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from hyperpeft.backbones import Backbone
from hyperpeft.tasks import Episode, Example
from hyperpeft.weights import AdapterWeights, stack


@dataclass(frozen=True)
class FinetuneSettings:
    """How a brief fine-tune runs: AdamW steps over the support, at most `rows` support examples a step."""

    steps: int = 20
    lr: float = 1e-3
    weight_decay: float = 0.0
    rows: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps is {self.steps}: it must be 0 or more.")


def finetune(
    backbone: Backbone[Any], weights: AdapterWeights, episodes: Sequence[Episode], settings: FinetuneSettings
) -> AdapterWeights:
    """Better weights for each task after some steps on its support; returns a new value, the old stays as it is.

    All tasks are trained in one batch: AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) works on each number by
    itself, so a task's result does not depend on its company (adapter dropout aside). Never sees the query.
    Raises ValueError if a task has no support.
    """
    (tuned,) = trajectory(backbone, weights, episodes, settings, [settings.steps])
    return tuned


def trajectory(
    backbone: Backbone[Any],
    weights: AdapterWeights,
    episodes: Sequence[Episode],
    settings: FinetuneSettings,
    steps: Sequence[int],
) -> Iterator[AdapterWeights]:
    """The weights after each of the ascending numbers of steps of one fine-tune (`settings.steps` is not read)."""
    return trajectories(backbone, weights, episodes, settings, steps, [settings.lr])


def trajectories(
    backbone: Backbone[Any],
    weights: AdapterWeights,
    episodes: Sequence[Episode],
    settings: FinetuneSettings,
    steps: Sequence[int],
    lrs: Sequence[float],
) -> Iterator[AdapterWeights]:
    """As `trajectory`, from one start with several step sizes in one run: all tasks at the first, at the second, ..."""
    batches = support_batches(backbone, [*episodes] * len(lrs), settings)
    parts = [weights.map(lambda leaf: leaf.detach().clone().requires_grad_(True)) for _ in lrs]
    sizes = [{"params": [leaf for _, leaf in part.named()], "lr": lr} for part, lr in zip(parts, lrs, strict=True)]
    optimizer = torch.optim.AdamW(sizes, weight_decay=settings.weight_decay)
    done = 0
    for stop in steps:
        for step in range(done, stop):
            _step(backbone, parts, next(batches), optimizer, seed=settings.seed + step)
        done = stop
        yield stack([part.map(lambda leaf: leaf.detach().clone()) for part in parts])


def support_batches(backbone: Backbone[Any], episodes: Sequence[Episode], settings: FinetuneSettings) -> Iterator[Any]:
    """The batch of step 0, 1, ... without end: the support, or `settings.rows` examples a task, drawn for each step.

    Raises ValueError at once if a task has no support.
    """
    for episode in episodes:
        if not episode.support:
            raise ValueError(f"task {episode.task!r} has no examples to fine-tune on. Pass examples=[...].")
    return _support_batches(backbone, episodes, settings)


def _support_batches(backbone: Backbone[Any], episodes: Sequence[Episode], settings: FinetuneSettings) -> Iterator[Any]:
    batch = None
    for step in count():
        if batch is None or _exceeds(episodes, settings.rows):
            batch = backbone.support_batch([_part(e, settings.rows, settings.seed + step) for e in episodes])
        yield batch


def _step(
    backbone: Backbone[Any], parts: Sequence[AdapterWeights], batch: Any, optimizer: torch.optim.Optimizer, seed: int
) -> None:
    """One step of the optimizer; dropout depends on the seed alone, and the caller's random state stays."""
    parameters = [leaf for part in parts for _, leaf in part.named()]
    with torch.random.fork_rng([backbone.device] if backbone.device.type == "cuda" else []), torch.enable_grad():
        torch.manual_seed(seed)
        with backbone.adapted(stack(parts), train=True):
            gradients = torch.autograd.grad(backbone.loss(batch).sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()


def inner_loop(
    backbone: Backbone[Any],
    weights: AdapterWeights,
    episodes: Sequence[Episode],
    step_sizes: Sequence[Tensor | float],
    *,
    second_order: bool = False,
) -> AdapterWeights:
    """Weights after one gradient step on the support for each step size, differentiable in the start and step sizes.

    weights <- weights - step_size * gradient. First order drops the gradient's own derivative. Finn et al. 2017,
    arXiv:1703.03400. Fused attention has no second derivative: second order runs under the plain kernel.
    """
    batch = backbone.support_batch(episodes)
    for size in step_sizes:
        weights = weights.map(_tracked)
        leaves = [leaf for _, leaf in weights.named()]
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), backbone.adapted(weights, train=True):
            loss = backbone.loss(batch).sum()
            gradients = torch.autograd.grad(loss, leaves, create_graph=second_order, allow_unused=True)
        weights = _stepped(weights, gradients, size)
    return weights


def _tracked(leaf: Tensor) -> Tensor:
    return leaf if leaf.requires_grad else leaf.detach().requires_grad_(True)


def _stepped(weights: AdapterWeights, gradients: Sequence[Tensor | None], size: Tensor | float) -> AdapterWeights:
    """One step of gradient descent; `gradients` in the order of `AdapterWeights.named`."""
    moves = iter(gradients)
    return weights.map(lambda leaf: _moved(leaf, next(moves), size))


def _moved(leaf: Tensor, gradient: Tensor | None, size: Tensor | float) -> Tensor:
    return leaf if gradient is None else leaf - size * gradient


def _exceeds(episodes: Sequence[Episode], rows: int) -> bool:
    return any(len(episode.support) > rows for episode in episodes)


def _part(episode: Episode, rows: int, seed: int) -> Episode:
    """The episode with at most so many support examples, drawn evenly over its labels."""
    if len(episode.support) <= rows:
        return episode
    shuffled = Random(f"{seed}/{episode.task}").sample(episode.support, len(episode.support))
    return replace(episode, support=tuple(balanced(shuffled)[:rows]))


def balanced(examples: Sequence[Example]) -> list[Example]:
    """The examples in turns: the first of each output, the second of each, ...; the given order within a turn."""
    turns: dict[str, int] = {}
    keyed = []
    for position, example in enumerate(examples):
        turns[example.output] = turns.get(example.output, 0) + 1
        keyed.append((turns[example.output], position, example))
    return [example for _, _, example in sorted(keyed, key=lambda item: item[:2])]
