"""What an objective is: a generator and a meta-batch in, a loss for each task out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from hyperpeft.backbones import Scores
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode


class Objective(ABC):
    """Scores a meta-batch inside the graph; `loss` of the scores is what meta-training minimises."""

    @abstractmethod
    def __call__(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        """Loss and query accuracy of each task."""
