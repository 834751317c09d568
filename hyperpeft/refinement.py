"""Conditioning on the support's own loss: learned gradient steps that are part of generating an adapter."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hyperpeft.adaptation import FinetuneSettings, support_batches
from hyperpeft.backbones import Backbone
from hyperpeft.config import ConfigError
from hyperpeft.tasks import Episode
from hyperpeft.weights import READOUT, AdapterWeights

PACE = 10.0
TASKS = 8
"""Refined at once: memory does not grow with the number of tasks in a call."""


class Refinement(nn.Module):
    """weights - size * trust(loss) * g / rms(g), a few times: g is the gradient of each task's support loss.

    `normalised=False` leaves out rms(g) and moves the read-out numbers too, as MAML does (Finn et al. 2017,
    arXiv:1703.03400): tasks that the weights fit already move little.
    Every tensor of every target has a learned step size for each step (Meta-SGD: Li et al. 2017, arXiv:1707.09835, one
    number a tensor), so the support decides the direction and meta-training how far to go. trust in (0, 2) is a learned
    function of the support loss. First order: no derivative is taken through g. Tasks without support keep their
    weights; read-out numbers else stay as generated. Never sees the query.

    `apart=True`: the steps start from the weights plus a learned offset, one for all tasks, and no gradient reaches
    what made the weights: what is best to step from is not what is best without examples, so neither pays for the
    other. It is trained after the generator, which is frozen then (`refining` of a run). `share` of the generated part
    stays in that start, the rest is left out: what was learned of the training tasks fits a new one less.
    `weights` are those of one task, for names and shapes. Raises ConfigError for a share outside 0 to 1, or one below
    1 without a start of its own.
    """

    def __init__(
        self,
        weights: AdapterWeights,
        steps: int = 1,
        size: float = 3e-3,
        rows: int = 32,
        normalised: bool = True,
        apart: bool = False,
        share: float = 1.0,
    ):
        super().__init__()
        if not 0.0 <= share <= 1.0 or (share < 1.0 and not apart):
            raise ConfigError(
                f"refinement.share is {share} and refinement.apart {str(apart).lower()}: a share is between 0 and 1, "
                "and below 1 it needs apart=true."
            )
        moved = {name: leaf for name, leaf in weights.named() if not (normalised and name.startswith(f"{READOUT}:"))}
        self.names = [*moved]
        self.steps = steps
        self.rows = rows
        self.normalised = normalised
        self.share = share
        self._settings = {
            "steps": steps,
            "size": size,
            "rows": rows,
            "normalised": normalised,
            "apart": apart,
            "share": share,
        }
        self.offset = nn.ParameterList(torch.zeros(leaf.shape[1:]) for leaf in moved.values()) if apart else None
        self.log_size = nn.Parameter(torch.full((steps, len(self.names)), math.log(size) / PACE))
        self.trust = nn.Parameter(torch.zeros(steps, 2))

    def settings(self) -> dict[str, Any]:
        """The arguments that settings may give."""
        return dict(self._settings)

    @torch.no_grad()
    def begin(self, shared: AdapterWeights, start: AdapterWeights) -> None:
        """Set the offset to what a start for all tasks is apart from the part that all tasks share."""
        apart = dict(start.zip(shared, torch.sub).named())
        for name, offset in zip(self.names, self.offset or (), strict=True):
            offset.copy_(apart[name][0])

    def forward(
        self, backbone: Backbone[Any], weights: AdapterWeights, episodes: Sequence[Episode], shared: AdapterWeights
    ) -> AdapterWeights:
        """The refined weights, differentiable in the given ones and in the step sizes. shared: one task's, of all."""
        shown = [place for place, episode in enumerate(episodes) if episode.support]
        if not shown:
            return weights
        for index in torch.split(torch.tensor(shown, device=backbone.device), TASKS):
            weights = self._refined(backbone, weights, episodes, shared, index)
        return weights

    def _refined(
        self,
        backbone: Backbone[Any],
        weights: AdapterWeights,
        episodes: Sequence[Episode],
        shared: AdapterWeights,
        index: Tensor,
    ) -> AdapterWeights:
        """The weights with those of the episodes at `index` moved."""
        moved = self._start(weights.map(lambda leaf: leaf[index]), shared)
        batches = support_batches(backbone, [episodes[place] for place in index], FinetuneSettings(rows=self.rows))
        for step in range(self.steps):
            moved = self._step(backbone, moved, batches, step)
        return weights.zip(moved, lambda leaf, value: leaf.index_copy(0, index, value))

    def _start(self, weights: AdapterWeights, shared: AdapterWeights) -> AdapterWeights:
        """Where the steps begin. What only the generated weights have (what is read of labels) stays whole."""
        if self.offset is None:
            return weights
        offsets, common = dict(zip(self.names, self.offset, strict=True)), dict(shared.detach().named())
        kept = {name: common.get(name, leaf).lerp(leaf, self.share) for name, leaf in weights.detach().named()}
        values = iter([leaf + offsets.get(name, 0.0) for name, leaf in kept.items()])
        return weights.map(lambda _: next(values))

    def _step(
        self, backbone: Backbone[Any], weights: AdapterWeights, batches: Iterator[Any], step: int
    ) -> AdapterWeights:
        with torch.inference_mode(False), torch.enable_grad():
            leaves = weights.map(lambda leaf: leaf.detach().clone().requires_grad_(True))
            named = [leaf for name, leaf in leaves.named() if name in self.names]
            with backbone.adapted(leaves, train=self.training):
                loss = backbone.loss(next(batches))
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
