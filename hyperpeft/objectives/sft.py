"""Supervised fine-tuning of the generator: the query loss under the generated adapter."""

from collections.abc import Sequence

from hyperpeft.backbones import Scores
from hyperpeft.generator import Generator
from hyperpeft.objectives.base import Objective, query_scores
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


class Sft(Objective):
    """Query loss with every task's own generated adapter, all tasks in one forward of the backbone."""

    def forward(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        """Loss and query accuracy of each task."""
        return query_scores(generator, episodes, self.weights(generator, episodes))

    def weights(self, generator: Generator, episodes: Sequence[Episode]) -> AdapterWeights:
        """As generated."""
        return generator(episodes)
