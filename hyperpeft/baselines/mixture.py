"""A mixture of training adapters whose weights are learned on the support."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum
from torch import Tensor

from hyperpeft.adaptation import FinetuneSettings, support_batches
from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.baselines.library import Library
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


@dataclass(frozen=True)
class MixtureSettings:
    """adapters: parts of a task's mixture. steps, lr: of Adam on their weights. penalty: of |weight| in the loss."""

    adapters: int = 20
    steps: int = 20
    lr: float = 0.05
    penalty: float = 0.05


class Mixture(Method):
    """start + the weighted sum of (adapter - start) over the adapters of the nearest training tasks, by description.

    The idea of LoRAHub: Huang et al. 2023, arXiv:2307.13269, with its loss (the support's plus 0.05 times the sum of
    |weight|) and its 20 adapters. Other than there, the adapters are the nearest, not random ones; the weights begin
    at 1 / count, not 0; and a few gradient steps learn them, not a gradient-free search.
    """

    name = "mixture of training adapters"
    needs_support = True

    def __init__(self, library: Library, seed: int = 0, settings: MixtureSettings | None = None):
        self.library = library
        self.seed = seed
        self.settings = settings or MixtureSettings()

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """Each task's own mixture of its own adapters."""
        index = self.library.nearest(episodes, self.settings.adapters).to(backbone.device)
        parts = self.library.adapters.zip(self.library.start, lambda leaf, start: (leaf - start)[index])
        weights = self._learned(backbone, parts, episodes)
        return Start(backbone, self._mixed(parts, weights).detach(), episodes)

    def _learned(self, backbone: Backbone[Any], parts: AdapterWeights, episodes: Sequence[Episode]) -> Tensor:
        """`[task part]`."""
        count = next(leaf for _, leaf in parts.named()).shape[1]
        weights = torch.full((len(episodes), count), 1 / count, device=backbone.device, requires_grad=True)
        optimizer = torch.optim.Adam([weights], lr=self.settings.lr)
        batches = support_batches(backbone, episodes, FinetuneSettings(seed=self.seed))
        for _ in range(self.settings.steps):
            with torch.enable_grad(), backbone.adapted(self._mixed(parts, weights)):
                loss = backbone.loss(next(batches)).sum() + self.settings.penalty * weights.abs().sum()
                (weights.grad,) = torch.autograd.grad(loss, [weights])
            optimizer.step()
        return weights.detach()

    def _mixed(self, parts: AdapterWeights, weights: Tensor) -> AdapterWeights:
        """`parts` hold `[task part ...]`."""
        moved = parts.map(lambda leaf: einsum(weights, leaf, "task part, task part ... -> task ..."))
        return moved.zip(self.library.start, torch.add)
