"""One adapter for all tasks."""

from collections.abc import Sequence
from typing import Any

from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode


class Multitask(Method):
    """The shared multi-task adapter: what a generator with head `none`, meta-trained on the same tasks, has learned."""

    name = "shared multi-task adapter"

    def __init__(self, generator: Generator):
        self.generator = generator

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """The shared part, the same for each task."""
        return Start(backbone, self.generator.shared(len(episodes)), episodes)
