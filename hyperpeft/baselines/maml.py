"""The start that MAML learned, after its own steps on the support."""

from collections.abc import Sequence
from typing import Any

from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.generator import Generator
from hyperpeft.meta import after_support, inner_settings, maml
from hyperpeft.tasks import Episode


class Maml(Method):
    """MAML: as many gradient steps on the support as in meta-training, of the same size.

    Without support: the start itself. Finn et al. 2017, arXiv:1703.03400, by learn2learn. Raises ValueError for a
    generator that was not meta-trained so.
    """

    name = "MAML"
    requires = ("learn2learn",)

    def __init__(self, generator: Generator):
        self.generator = generator
        self.settings = inner_settings(generator.about)

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """Each task's own steps from the common start."""
        start = self.generator.shared(len(episodes))
        weights = after_support(backbone, start, episodes, maml(self.settings), self.settings.steps)
        return Start(backbone, weights.detach(), episodes)
