"""What adapting could give at best: an adapter trained on all of the task's other data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch

from hyperpeft.adaptation import FinetuneSettings, balanced, finetune
from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode, Task
from hyperpeft.weights import AdapterWeights


@dataclass(frozen=True)
class OracleSettings:
    """Steps of `rows` examples each; shown: examples per label (per task for free text) that the backbone is given."""

    steps: int = 60
    lr: float = 1e-3
    rows: int = 32
    shown: int = 32


class Oracle(Method):
    """The shared start trained on every example of the task but those with the input of a query.

    No method to compete with: it knows more. Its result does not depend on the support. A task without other data keeps
    the shared start and its support.
    """

    name = "task oracle"
    trainable = False

    def __init__(
        self, tasks: Mapping[str, Task], shared: Generator, seed: int = 0, settings: OracleSettings | None = None
    ):
        self.tasks = tasks
        self.shared = shared
        self.seed = seed
        self.settings = settings or OracleSettings()

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """One adapter a task, all trained at once.

        Raises KeyError for an episode of an unknown task, ValueError for one whose labels were renamed.
        """
        taught = [self._taught(episode) for episode in episodes]
        settings = FinetuneSettings(self.settings.steps, self.settings.lr, rows=self.settings.rows, seed=self.seed)
        weights = _trained(backbone, self.shared.shared(len(episodes)), taught, settings)
        return Start(backbone, weights, [self._asked(e, full) for e, full in zip(episodes, taught, strict=True)])

    def _taught(self, episode: Episode) -> Episode:
        """The episode with all other data of its task as support, in an order drawn by the seed."""
        hidden = {example.input for example in episode.query}
        task = self.tasks[episode.task]
        if not set(episode.labels) <= set(task.labels):
            raise ValueError(f"task {task.name!r}: its other data has other labels than {[*episode.labels][:5]}.")
        known = [
            e for e in task.examples if e.input not in hidden and (not episode.labels or e.output in episode.labels)
        ]
        return replace(episode, support=tuple(Random(f"{self.seed}/{episode.task}").sample(known, len(known))))

    def _asked(self, episode: Episode, taught: Episode) -> Episode:
        shown = balanced(taught.support)[: self.settings.shown * max(1, len(episode.labels))]
        return replace(episode, support=tuple(shown) or episode.support)


def _trained(
    backbone: Backbone[Any], start: AdapterWeights, taught: Sequence[Episode], settings: FinetuneSettings
) -> AdapterWeights:
    known = [index for index, episode in enumerate(taught) if episode.support]
    if not known:
        return start
    index = torch.tensor(known, device=backbone.device)
    own = start.map(lambda leaf: leaf[index])
    tuned = finetune(backbone, own, [taught[place] for place in known], settings)
    return start.zip(tuned, lambda leaf, moved: leaf.index_copy(0, index, moved))
