"""Every parameter of the backbone, fine-tuned for each task."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hyperpeft.adaptation import FinetuneSettings, support_batches
from hyperpeft.adapters import AdapterKind
from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Adaptation, Answers, Method, Start
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


@dataclass(frozen=True)
class Values:
    """All that is trained for one task: the model's parameters in order, and the read-out with no adapter around it."""

    parameters: Sequence[Tensor]
    readout: AdapterWeights


@dataclass(frozen=True)
class WholeModel(Adaptation):
    """The parameters of each task, and one private copy of the backbone that computes with them, task after task."""

    private: Backbone[Any]
    episodes: Sequence[Episode]
    values: Sequence[Values]

    @property
    def parameters(self) -> int:  # type: ignore[override]
        """Numbers in the model and its read-out."""
        first = self.values[0]
        return sum(value.numel() for value in first.parameters) + len(first.readout.readout)

    def answers(self) -> list[Answers]:
        """Predictions of each task's model, by the backbone's own code."""
        found = []
        for episode, values in zip(self.episodes, self.values, strict=True):
            _load(self.private, values.parameters)
            found += Start(self.private, values.readout, [episode]).answers()
        return found

    def trained(self, steps: Sequence[int], settings: FinetuneSettings) -> Iterator["WholeModel"]:
        """AdamW on the support, one task after the other up to each number of steps.

        Holds parameters and both moments in fp32 for every task meanwhile. Raises ValueError without support.
        """
        runs = [
            _Run(self.private, episode, values, settings)
            for episode, values in zip(self.episodes, self.values, strict=True)
        ]
        done = 0
        for stop in steps:
            for run in runs:
                run.advance(stop - done)
            done = stop
            yield replace(self, values=[run.values() for run in runs])


class FullFinetune(Method):
    """Full fine-tuning: a private copy of the whole model, trained for each task with the backbone's own support loss.

    The parameters that are trained are in fp32; the model computes with their rounding to the backbone's dtype, so
    that before any step it is the bare backbone. The read-out is trained as it is with adapters. Dropout is off. The
    shared backbone is never touched. `adapter` only names the kind of the empty weights that carry the read-out.
    """

    name = "full fine-tuning"

    def __init__(self, adapter: AdapterKind):
        self.adapter = adapter

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> WholeModel:
        """The pretrained parameters for each task."""
        readout = AdapterWeights(self.adapter, backbone.identity, {}, backbone.readout_start(1)).to(backbone.device)
        private = copy.copy(backbone)
        private.model = copy.deepcopy(backbone.model).requires_grad_(True)
        pretrained = [parameter.detach() for parameter in backbone.model.parameters()]
        return WholeModel(private, episodes, [Values(pretrained, readout)] * len(episodes))


class _Run:
    """The fine-tune of one task: its parameters and read-out in fp32 with their AdamW."""

    def __init__(self, private: Backbone[Any], episode: Episode, values: Values, settings: FinetuneSettings):
        self.private = private
        self.batches = support_batches(private, [episode], settings)
        self.masters = [value.float().clone() for value in values.parameters]
        self.readout = values.readout.map(lambda leaf: leaf.clone().requires_grad_(True))
        leaves = [*self.masters, *self.readout.readout.values()]
        self.optimizer = torch.optim.AdamW(leaves, lr=settings.lr, weight_decay=settings.weight_decay)

    def values(self) -> Values:
        """A copy in the model's dtype."""
        pairs = zip(self.masters, self.private.model.parameters(), strict=True)
        parameters = [master.to(parameter.dtype, copy=True) for master, parameter in pairs]
        return Values(parameters, self.readout.map(lambda leaf: leaf.detach().clone()))

    def advance(self, steps: int) -> None:
        _load(self.private, self.masters)
        for _ in range(steps):
            self._step(next(self.batches))
            _load(self.private, self.masters)

    def _step(self, batch: Any) -> None:
        parameters = list(self.private.model.parameters())
        readout = list(self.readout.readout.values())
        with torch.enable_grad(), self.private.adapted(self.readout, train=True):
            gradients = torch.autograd.grad(
                self.private.loss(batch).sum(), [*parameters, *readout], allow_unused=True
            )  # fmt: skip
        for leaf, gradient in zip([*self.masters, *readout], gradients, strict=True):
            leaf.grad = None if gradient is None else gradient.float()
        self.optimizer.step()


@torch.no_grad()
def _load(private: Backbone[Any], values: Sequence[Tensor]) -> None:
    for parameter, value in zip(private.model.parameters(), values, strict=True):
        parameter.copy_(value)
