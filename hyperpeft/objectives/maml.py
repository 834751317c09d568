"""A start from which a few gradient steps on the support do well on the query."""

from collections.abc import Sequence

from hyperpeft.backbones import Scores
from hyperpeft.generator import Generator
from hyperpeft.meta import InnerSettings, after_support, maml
from hyperpeft.objectives.base import Objective, query_scores
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


class Maml(Objective):
    """Query loss after `steps` gradient steps on the support, by learn2learn's MAML around the adapter alone.

    Finn et al. 2017, arXiv:1703.03400. All tasks of a meta-batch are in one clone. Without support it is the query loss
    at the start. Raises ImportError where learn2learn is missing.
    """

    def __init__(self, steps: int = 3, lr: float = 0.1, first_order: bool = True):
        super().__init__()
        self.settings = InnerSettings(steps, lr, first_order)
        self.learner = maml(self.settings)

    def forward(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        """Loss and query accuracy of each task."""
        return query_scores(generator, episodes, self.weights(generator, episodes))

    def weights(self, generator: Generator, episodes: Sequence[Episode]) -> AdapterWeights:
        """The start after its steps on the support."""
        steps, train = self.settings.steps, generator.training
        return after_support(generator.backbone, generator(episodes), episodes, self.learner, steps, train=train)
