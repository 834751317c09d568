"""Conditioning on the support's own loss: learned gradient steps that are part of generating an adapter."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hyperpeft.adaptation import FinetuneSettings, support_batches
from hyperpeft.backbones import Backbone
from hyperpeft.config import ConfigError
from hyperpeft.tasks import Episode
from hyperpeft.weights import READOUT, AdapterWeights

PACE = 10.0


class Refinement(nn.Module):
    """weights - size * trust(loss) * g / rms(g), a few times: g is the gradient of each task's support loss.

    `normalised=False` leaves out rms(g), as MAML does (Finn et al. 2017, arXiv:1703.03400): tasks that the weights fit
    already move little.

    Every tensor of every target has a learned step size for each step (Meta-SGD: Li et al. 2017, arXiv:1707.09835, one
    number a tensor), so the support decides the direction and meta-training how far to go. trust in (0, 2) is a learned
    function of the support loss. First order: no derivative is taken through g. Tasks without support keep their
    weights; the read-out numbers stay as generated. Never sees the query.

    What is best to step from is not what is best without examples. `offset`: a learned tensor, zero at first, is added
    before the first step. `skip`: the share of meta-batches that train the weights as they are before it. `apart`:
    meta-batches that are refined train the refinement alone, and the given weights learn from the others.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        steps: int = 1,
        size: float = 3e-3,
        rows: int = 32,
        offset: bool = False,
        skip: float = 0.0,
        normalised: bool = True,
        apart: bool = False,
    ):
        super().__init__()
        if not 0 <= skip < 1:
            raise ConfigError(f"refinement.skip is {skip}: it is a share of meta-batches, 0 or more and less than 1.")
        self.names = [name for name in shapes if not name.startswith(f"{READOUT}:")]
        self.steps = steps
        self.rows = rows
        self.skip = skip
        self.normalised = normalised
        self.apart = apart
        own = {"offset": offset, "skip": skip, "normalised": normalised, "apart": apart}
        self._settings = {"steps": steps, "size": size, "rows": rows, **own}
        self.offset = nn.ParameterList([torch.zeros(tuple(shapes[name])) for name in self.names] if offset else [])
        self.log_size = nn.Parameter(torch.full((steps, len(self.names)), math.log(size) / PACE))
        self.trust = nn.Parameter(torch.zeros(steps, 2))

    def settings(self) -> dict[str, Any]:
        """The arguments that settings may give."""
        return dict(self._settings)

    def forward(self, backbone: Backbone[Any], weights: AdapterWeights, episodes: Sequence[Episode]) -> AdapterWeights:
        """The refined weights, differentiable in the given ones and in the step sizes."""
        shown = [place for place, episode in enumerate(episodes) if episode.support]
        if not shown or (self.training and float(torch.rand(())) < self.skip):
            return weights
        index = torch.tensor(shown, device=backbone.device)
        moved = self._off(weights.map(lambda leaf: (leaf.detach() if self.apart else leaf)[index]))
        batches = support_batches(backbone, [episodes[place] for place in shown], FinetuneSettings(rows=self.rows))
        for step in range(self.steps):
            moved = self._step(backbone, moved, next(batches), step)
        return weights.zip(moved, lambda leaf, value: leaf.index_copy(0, index, value))

    def _off(self, weights: AdapterWeights) -> AdapterWeights:
        offset = dict(zip(self.names, self.offset, strict=True)) if self.offset else {}
        values = iter([leaf + offset[name] if name in offset else leaf for name, leaf in weights.named()])
        return weights.map(lambda _: next(values))

    def _step(self, backbone: Backbone[Any], weights: AdapterWeights, batch: Any, step: int) -> AdapterWeights:
        leaves = weights.map(lambda leaf: leaf.detach().requires_grad_(True))
        named = [leaf for name, leaf in leaves.named() if not name.startswith(f"{READOUT}:")]
        with torch.inference_mode(False), torch.enable_grad(), backbone.adapted(leaves, train=self.training):
            loss = backbone.loss(batch)
            gradients = torch.autograd.grad(loss.sum(), named, allow_unused=True)
        trust = 2 * torch.sigmoid(self.trust[step, 0] + self.trust[step, 1] * loss.detach())
        sizes = torch.exp(PACE * self.log_size[step])
        moves = {
            name: size * _per_task(trust, gradient) * (_unit(gradient) if self.normalised else gradient)
            for name, size, gradient in zip(self.names, sizes, gradients, strict=True)
            if gradient is not None
        }
        values = iter([leaf - moves[name] if name in moves else leaf for name, leaf in weights.named()])
        return weights.map(lambda _: next(values))


def _per_task(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _unit(gradient: Tensor) -> Tensor:
    """The gradient over its root mean square within each task; zero stays zero."""
    square = gradient.square().flatten(1).mean(1)
    return gradient / _per_task(square.sqrt() + 1e-12, gradient)
