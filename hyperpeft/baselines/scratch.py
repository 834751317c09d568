"""The ordinary way: a fresh adapter, fine-tuned on the support."""

from collections.abc import Sequence
from typing import Any

from hyperpeft.adapters import AdapterKind
from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.tasks import Episode


class Scratch(Method):
    """An adapter from scratch: the same start as no adapter, then fine-tuned."""

    name = "from scratch"

    def __init__(self, adapter: AdapterKind, seed: int = 0):
        self.adapter = adapter
        self.seed = seed

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """Fresh weights for each task."""
        return Start(backbone, backbone.start(self.adapter, tasks=len(episodes), seed=self.seed), episodes)
