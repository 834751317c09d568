"""The query loss on the way of a fine-tune: at the generated weights and after steps from there."""

from collections.abc import Sequence
from itertools import pairwise

import torch

from hyperpeft.backbones import Scores
from hyperpeft.generator import Generator
from hyperpeft.meta import InnerSettings, after_support, maml
from hyperpeft.objectives.base import Objective, query_scores
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


class ThroughFinetune(Objective):
    """Mean of the query losses after each number of gradient steps on the support in `after`: 0 and 3 if not given.

    What is generated shall be good at once and a good start, where MAML (Finn et al. 2017, arXiv:1703.03400) asks for
    the start alone. The idea of a loss at every step: Antoniou et al. 2019, arXiv:1810.09502. The steps are
    learn2learn's. Without support it is the query loss as generated. Raises ValueError where `after` is not ascending,
    and ImportError where learn2learn is missing.
    """

    def __init__(self, after: list[int] | None = None, lr: float = 0.1, first_order: bool = True):
        super().__init__()
        self.after = (0, 3) if after is None else tuple(after)
        if not self.after or self.after[0] < 0 or sorted({*self.after}) != [*self.after]:
            raise ValueError(
                f"after is {[*self.after]}: give numbers of steps, 0 or more, each larger than the one before it."
            )
        self.settings = InnerSettings(max(1, self.after[-1]), lr, first_order)
        self.learner = maml(self.settings)

    def forward(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        """Loss and query accuracy of each task, each the mean over `after`."""
        scores = [query_scores(generator, episodes, weights) for weights in self._path(generator, episodes)]
        accuracy = torch.stack([one.accuracy.float() for one in scores]).mean(0)
        return Scores(torch.stack([one.loss for one in scores]).mean(0), accuracy)

    def validate(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        """The same mean: a checkpoint is as good as its whole path."""
        with torch.no_grad():
            return self(generator, episodes)

    def weights(self, generator: Generator, episodes: Sequence[Episode]) -> AdapterWeights:
        """After the last of the steps."""
        return self._path(generator, episodes)[-1]

    def _path(self, generator: Generator, episodes: Sequence[Episode]) -> list[AdapterWeights]:
        path, weights = [], generator(episodes)
        for before, count in pairwise((0, *self.after)):
            weights = self._moved(generator, weights, episodes, count - before)
            path.append(weights)
        return path

    def _moved(
        self, generator: Generator, weights: AdapterWeights, episodes: Sequence[Episode], steps: int
    ) -> AdapterWeights:
        if not steps:
            return weights
        return after_support(generator.backbone, weights, episodes, self.learner, steps, train=generator.training)
