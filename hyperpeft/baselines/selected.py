"""Ours with a choice: what cross-validation on the support prefers."""

from collections.abc import Sequence
from typing import Any

from hyperpeft.adaptation import FinetuneSettings
from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.generator import Generator
from hyperpeft.selection import ENOUGH, choose
from hyperpeft.tasks import Episode
from hyperpeft.weights import stack


class Selected(Method):
    """No adapter, the shared or the generated one: the lowest cross-validated loss on the support.

    Tasks with fewer examples than ENOUGH get the generated one.
    """

    name = "generated, selected"
    trainable = False

    def __init__(self, generator: Generator):
        self.generator = generator

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """One chosen start an episode."""
        generated, chosen = self.generator.generate(episodes), []
        for index, episode in enumerate(episodes):
            weights = generated[index]
            if len(episode.support) >= ENOUGH:
                _, weights = choose(self.generator, episode, weights, FinetuneSettings(steps=0))
            chosen.append(weights)
        return Start(backbone, stack(chosen), episodes)
