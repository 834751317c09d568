"""Ours with a choice: what cross-validation on the support prefers."""

from collections.abc import Sequence
from typing import Any

from hyperpeft.adaptation import FinetuneSettings
from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.generator import Generator
from hyperpeft.selection import ENOUGH, choose
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights, stack


class Selected(Method):
    """No adapter, the shared or the generated one, as `hyperpeft.generate(select="auto")` chooses.

    By the cross-validated loss on the support, the simplest of equals; tasks with fewer examples than ENOUGH get the
    generated one.
    """

    name = "generated, selected"
    trainable = False

    def __init__(self, generator: Generator):
        self.generator = generator

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """One chosen start an episode."""
        generated = self.generator.generate(episodes)
        names, chosen = zip(*(self._chosen(episode, generated[i]) for i, episode in enumerate(episodes)), strict=True)
        return Start(backbone, stack(chosen), episodes, self.generator.calibration, names)

    def _chosen(self, episode: Episode, generated: AdapterWeights) -> tuple[str, AdapterWeights]:
        if len(episode.support) < ENOUGH:
            return "generated", generated
        return choose(self.generator, episode, generated, FinetuneSettings(steps=0))
