"""A start that lies close to where each task's own training leads."""

from collections.abc import Sequence

import torch

from hyperpeft.backbones import Scores
from hyperpeft.generator import Generator
from hyperpeft.meta import Held, InnerSettings, after_support, maml, step
from hyperpeft.objectives.base import Objective
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


class Reptile(Objective):
    """Moves the start by (adapted - start), the mean over tasks. Nichol et al. 2018, arXiv:1803.02999.

    adapted: the start after `steps` gradient steps on the support and one on the query, the very forwards and backwards
    that first-order MAML takes; MAML keeps the last gradient alone, this their sum. The move is given to the common
    optimizer as the gradient (start - adapted) / lr; without support that is the gradient of Sft. The loss is the
    query's, before its own step. Raises ImportError where learn2learn is missing.
    """

    def __init__(self, steps: int = 3, lr: float = 0.1):
        super().__init__()
        self.settings = InnerSettings(steps, lr, first_order=True)
        self.learner = maml(self.settings)

    def forward(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        """Loss and query accuracy of each task; the loss's gradient is the move."""
        backbone, learner = generator.backbone, self.learner
        start = generator(episodes)
        shown = after_support(
            backbone, start.detach(), episodes, learner, self.settings.steps, train=generator.training
        )
        held = learner(Held(shown.map(lambda leaf: leaf.detach().requires_grad_(True)))).clone()
        scores = step(backbone, held, backbone.query_batch(episodes), train=generator.training)
        moves = start.zip(held().detach(), lambda before, after: before * (before.detach() - after))
        total = (
            torch.stack([leaf.reshape(len(episodes), -1).sum(1) for _, leaf in moves.named()]).sum(0) / self.settings.lr
        )
        return Scores(scores.loss.detach() + total - total.detach(), scores.accuracy)

    def weights(self, generator: Generator, episodes: Sequence[Episode]) -> AdapterWeights:
        """The start after its steps on the support."""
        return after_support(generator.backbone, generator(episodes), episodes, self.learner, self.settings.steps)
