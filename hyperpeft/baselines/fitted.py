"""Adaptations that are fitted to the support in one go: no fine-tune steps follow."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hyperpeft.adaptation import FinetuneSettings
from hyperpeft.baselines.base import Adaptation, Answers
from hyperpeft.tasks import Episode


class Fitted(Adaptation):
    """An adaptation whose method has its own way to learn from the support, finished before it answers."""

    @abstractmethod
    def answers(self) -> list[Answers]:
        """One an episode. Query outputs are not looked at."""

    def trained(self, steps: Sequence[int], settings: FinetuneSettings) -> Iterator[Adaptation]:
        """Raises TypeError: there are no steps to go on with."""
        raise TypeError("this method is fitted in one go and has no fine-tune steps: measure it at steps=0 only.")


def check_support(episodes: Sequence[Episode], method: str) -> None:
    """Raise ValueError for the first episode without support."""
    for episode in episodes:
        if not episode.support:
            raise ValueError(f"{method}: task {episode.task!r} has no support. It needs examples: leave out 0 shots.")


def spread(probabilities: Tensor, classes: Sequence[int], labels: int) -> Tensor:
    """`[query class]` as `[query label]`: the classes are the labels that the support shows, the others have none."""
    whole = torch.zeros(len(probabilities), labels, dtype=torch.float64)
    whole[:, list(classes)] = probabilities.double().cpu()
    return whole
