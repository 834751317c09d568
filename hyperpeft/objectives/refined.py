"""The query loss as generated and after the refinement: for a refinement with a start of its own."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from hyperpeft.backbones import Scores
from hyperpeft.config import ConfigError
from hyperpeft.generator import Generator
from hyperpeft.objectives.base import Objective, query_scores
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


class Refined(Objective):
    """Query loss of the weights before the refinement, plus, for tasks with support, their query loss after it.

    With `refinement.apart` the first sum trains the hypernetwork as `sft` would train it without a refinement, the
    second the refinement alone. Raises ConfigError for a generator without a refinement.
    """

    def __init__(self, generator: Generator):
        super().__init__()
        if generator.refinement is None:
            raise ConfigError("objective.kind=refined: there is no refinement. Set refinement.apart=true, or take sft.")

    def forward(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        """Loss of each task, the two added; query accuracy of `weights`."""
        weights = generator.unrefined(episodes)
        scores = query_scores(generator, episodes, weights)
        shown = [place for place, episode in enumerate(episodes) if episode.support]
        if not shown:
            return scores
        index = torch.tensor(shown, device=scores.loss.device)
        supported = [episodes[place] for place in shown]
        refined = generator.refine(weights.map(lambda leaf: leaf[index]), supported)
        after = query_scores(generator, supported, refined)
        accuracy = scores.accuracy.index_copy(0, index, after.accuracy)
        return replace(scores, loss=scores.loss.index_add(0, index, after.loss), accuracy=accuracy)

    def weights(self, generator: Generator, episodes: Sequence[Episode]) -> AdapterWeights:
        """As generated, refined where there is support."""
        return generator(episodes)
