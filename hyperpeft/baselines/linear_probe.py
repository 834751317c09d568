"""The head alone: a linear classifier on frozen features, trained from the prototypes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hyperpeft.adaptation import FinetuneSettings
from hyperpeft.backbones import Backbone
from hyperpeft.backbones.prototypes import Prototypes
from hyperpeft.baselines.base import Adaptation, Answers, Method, labelled
from hyperpeft.baselines.features import Shown, has_features, query_features, support_features, with_features
from hyperpeft.tasks import Episode


@dataclass(frozen=True)
class Probe(Adaptation):
    """A linear layer `[label d+1]` (the last column is the bias) for each task on unit-length frozen features."""

    backbone: Prototypes
    episodes: Sequence[Episode]
    shown: Sequence[Shown]
    layers: Sequence[Tensor]

    @property
    def parameters(self) -> int:  # type: ignore[override]
        """Numbers in one task's layer, of the task with most labels."""
        return max(layer.numel() for layer in self.layers)

    def answers(self) -> list[Answers]:
        """The most probable labels."""
        parts = zip(self.episodes, query_features(self.backbone, self.episodes), self.layers, strict=True)
        return [labelled(episode, logits(queries, layer).softmax(-1).cpu()) for episode, queries, layer in parts]

    def trained(self, steps: Sequence[int], settings: FinetuneSettings) -> Iterator["Probe"]:
        """AdamW on the cross-entropy of the support, all tasks at once.

        Features are computed once, so every step sees the whole support, whatever `settings.rows`. Raises ValueError
        if a task has no support.
        """
        for episode in self.episodes:
            if not episode.support:
                raise ValueError(f"task {episode.task!r} has no examples to fine-tune on. Pass examples=[...].")
        layers = [layer.clone().requires_grad_(True) for layer in self.layers]
        optimizer = torch.optim.AdamW(layers, lr=settings.lr, weight_decay=settings.weight_decay)
        done = 0
        for stop in steps:
            for _ in range(done, stop):
                _step(self.shown, layers, optimizer)
            done = stop
            yield replace(self, layers=[layer.detach().clone() for layer in layers])


class LinearProbe(Method):
    """A linear layer on frozen features that starts as the backbone's own rule: scaled cosines with the prototypes.

    Before any step it answers as the bare backbone does. The rows of the start are unit-length prototypes (support and
    label texts) times the scale, as in Triantafillou et al. 2020, arXiv:1903.03096 (Proto-MAML), for cosines.
    """

    name = "linear probe"

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Probe:
        """The prototypes of each task as a layer."""
        featured = with_features(backbone)
        shown = support_features(featured, episodes)
        numbers = featured.readout_defaults()
        layers = [_start(part, numbers, len(episode.labels)) for part, episode in zip(shown, episodes, strict=True)]
        return Probe(featured, episodes, shown, layers)

    def suits(self, backbone: Backbone[Any]) -> bool:
        """Backbones with features."""
        return has_features(backbone)


def logits(features: Tensor, layer: Tensor) -> Tensor:
    """`[row label]` of unit-length features `[row d]`."""
    return functional.linear(features, layer[:, :-1], layer[:, -1])


def _start(shown: Shown, numbers: dict[str, float], labels: int) -> Tensor:
    one_hot = functional.one_hot(shown.labels, labels).to(shown.examples)
    sums = one_hot.T @ shown.examples
    if len(shown.texts):
        sums = sums + math.exp(numbers["log_label_weight"]) * shown.texts
    rows = math.exp(numbers["log_scale"]) * functional.normalize(sums, dim=-1)
    return torch.cat([rows, rows.new_zeros(labels, 1)], dim=1)


def _step(shown: Sequence[Shown], layers: Sequence[Tensor], optimizer: torch.optim.Optimizer) -> None:
    with torch.enable_grad():
        losses = [
            functional.cross_entropy(logits(functional.normalize(part.examples, dim=-1), layer), part.labels)
            for part, layer in zip(shown, layers, strict=True)
        ]
        gradients = torch.autograd.grad(torch.stack(losses).sum(), list(layers))
    for layer, gradient in zip(layers, gradients, strict=True):
        layer.grad = gradient
    optimizer.step()
