"""The adapter of the training task that is described most alike."""

from collections.abc import Sequence
from typing import Any

from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.baselines.library import Library, pick
from hyperpeft.tasks import Episode


class Nearest(Method):
    """The adapter of the nearest training task by description embedding: retrieval in place of generation."""

    name = "nearest training task"

    def __init__(self, library: Library):
        self.library = library

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """One training task's adapter for each episode."""
        index = self.library.nearest(episodes, 1)[:, 0]
        return Start(backbone, pick(self.library.adapters, index), episodes)
