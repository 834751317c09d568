"""A start and a step size for each of its numbers, from which a few steps on the support do well on the query."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn

from hyperpeft.backbones import Scores
from hyperpeft.config import ConfigError
from hyperpeft.generator import Generator
from hyperpeft.meta import InnerSettings, after_support, meta_sgd
from hyperpeft.objectives.base import Objective, query_scores
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


class MetaSgd(Objective):
    """Like MAML, with learned step sizes, by learn2learn's MetaSGD. Li et al. 2017, arXiv:1707.09835.

    The step sizes begin at `lr` and stand in a hypernetwork of their own with head `none`, since they have the form of
    an adapter. Raises ConfigError for a generator whose hypernetwork has another head, since one start is learned, and
    ImportError where learn2learn is missing.
    """

    def __init__(self, generator: Generator, steps: int = 3, lr: float = 0.1, first_order: bool = True):
        super().__init__()
        if generator.hypernetwork.head != "none":
            raise ConfigError(
                f"objective meta_sgd learns one start for all tasks, but hypernetwork.head is "
                f"{generator.hypernetwork.head!r}. Set hypernetwork.head=none, or choose objective.kind=maml."
            )
        self.settings = InnerSettings(steps, lr, first_order)
        self.step_sizes = deepcopy(generator.hypernetwork)
        for value in self.step_sizes.parameters():
            nn.init.constant_(value, lr)
        meta_sgd(self.settings, self.step_sizes.shared_weights(1))  # fails now, not in the first step

    def forward(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        """Loss and query accuracy of each task."""
        scores = query_scores(generator, episodes, self.weights(generator, episodes))
        # without support nothing depends on the step sizes, but DDP waits for the gradient of every parameter
        reached = torch.stack([0.0 * value.sum() for value in self.step_sizes.parameters()]).sum()
        return Scores(scores.loss + reached, scores.accuracy)

    def weights(self, generator: Generator, episodes: Sequence[Episode]) -> AdapterWeights:
        """The start after its steps on the support."""
        learner = meta_sgd(self.settings, self.step_sizes.shared_weights(1))
        return after_support(
            generator.backbone, generator(episodes), episodes, learner, self.settings.steps, train=generator.training
        )
