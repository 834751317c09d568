"""The start that Meta-SGD learned, after steps of the sizes that it learned."""

from collections.abc import Sequence
from typing import Any

from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.generator import Generator
from hyperpeft.meta import after_support, inner_settings, meta_sgd
from hyperpeft.tasks import Episode


class MetaSgd(Method):
    """Meta-SGD: as many steps on the support as in meta-training, each number by its learned step size.

    `step_sizes` holds them in the place of a start. Without support: the start itself. Li et al. 2017,
    arXiv:1707.09835, by learn2learn. Raises ValueError for a generator that was not meta-trained so.
    """

    name = "Meta-SGD"
    requires = ("learn2learn",)

    def __init__(self, generator: Generator, step_sizes: Generator):
        self.generator = generator
        self.settings = inner_settings(generator.about)
        self.step_sizes = step_sizes.shared(1)

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """Each task's own steps from the common start."""
        start = self.generator.shared(len(episodes))
        learner = meta_sgd(self.settings, self.step_sizes)
        weights = after_support(backbone, start, episodes, learner, self.settings.steps)
        return Start(backbone, weights.detach(), episodes)
