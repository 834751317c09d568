"""The bare backbone."""

from collections.abc import Sequence
from typing import Any

from hyperpeft.adapters import AdapterKind
from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.tasks import Episode


class ZeroShot(Method):
    """No adapter: fresh weights that change nothing, never fine-tuned."""

    name = "no adapter"
    trainable = False

    def __init__(self, adapter: AdapterKind):
        self.adapter = adapter

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """The identity for each task."""
        return Start(backbone, backbone.start(self.adapter, tasks=len(episodes)), episodes)
