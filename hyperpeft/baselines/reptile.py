"""The start that Reptile learned."""

from collections.abc import Sequence
from typing import Any

from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode


class Reptile(Method):
    """Reptile: its start as it is; the common fine-tune is its adaptation. Nichol et al. 2018, arXiv:1803.02999."""

    name = "Reptile"
    requires = ("learn2learn",)

    def __init__(self, generator: Generator):
        self.generator = generator

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """The same start for each task."""
        return Start(backbone, self.generator.shared(len(episodes)), episodes)
