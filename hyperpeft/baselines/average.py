"""The mean of the adapters of the meta-train tasks."""

from collections.abc import Sequence
from typing import Any

from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.baselines.library import Library
from hyperpeft.tasks import Episode


class Average(Method):
    """The mean of every training task's adapter, number by number, for each task.

    All were trained from one start, so that their numbers mean the same: Wortsman et al. 2022, arXiv:2203.05482.
    """

    name = "average of training adapters"

    def __init__(self, library: Library):
        self.mean = library.adapters.mean()

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """The same mean for each task."""
        return Start(backbone, self.mean.repeat(len(episodes)), episodes)
