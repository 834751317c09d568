"""Supervised fine-tuning of the generator: the query loss under the generated adapter."""

from collections.abc import Sequence

from hyperpeft.backbones import Scores
from hyperpeft.generator import Generator
from hyperpeft.objectives.base import Objective
from hyperpeft.tasks import Episode


class Sft(Objective):
    """Query loss with every task's own generated adapter, all tasks in one forward of the backbone."""

    def __call__(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        """Loss and query accuracy of each task."""
        with generator.backbone.adapted(generator(episodes), train=generator.training):
            return generator.backbone.score(generator.backbone.query_batch(episodes))
