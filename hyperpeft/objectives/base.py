"""What an objective is: a generator and a meta-batch in, a loss for each task out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import nn

from hyperpeft.backbones import Scores
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


class Objective(nn.Module, ABC):
    """Scores a meta-batch inside the graph; `loss` of the scores is what meta-training minimises.

    Parameters that an objective has (learned step sizes) are trained and checkpointed with the generator's and saved
    beside it. A constructor that names `generator` is given the generator to train, and keeps none of it.
    """

    def __init__(self) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        """Loss and query accuracy of each task."""

    @abstractmethod
    def weights(self, generator: Generator, episodes: Sequence[Episode]) -> AdapterWeights:
        """The weights under which the query is asked: the generator's, or what the objective makes of them before."""

    @torch.no_grad()
    def validate(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        """Query loss and accuracy under `weights`: what chooses the best checkpoint."""
        return query_scores(generator, episodes, self.weights(generator, episodes))


def query_scores(generator: Generator, episodes: Sequence[Episode], weights: AdapterWeights) -> Scores:
    """Loss and accuracy of each task's query under the weights, inside the graph, in one forward of the backbone."""
    with generator.backbone.adapted(weights, train=generator.training):
        return generator.backbone.score(generator.backbone.query_batch(episodes))
