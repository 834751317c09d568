"""What a method is: it proposes where adaptation starts, nothing more."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from hyperpeft.adaptation import FinetuneSettings, trajectory
from hyperpeft.backbones import Backbone
from hyperpeft.calibration import Calibration, regime
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode, Task
from hyperpeft.weights import AdapterWeights


@dataclass(frozen=True)
class Answers:
    """The output for each query input of one episode; with a label set also `[query label]` probabilities."""

    texts: Sequence[str]
    probabilities: Tensor | None = None


class Adaptation(ABC):
    """What a method made of some episodes: it answers their queries and can be fine-tuned if the method says so.

    `parameters`: trainable parameters a task.
    """

    parameters: int

    @abstractmethod
    def answers(self) -> list[Answers]:
        """One an episode. Query outputs are not looked at."""

    @abstractmethod
    def trained(self, steps: Sequence[int], settings: FinetuneSettings) -> Iterator["Adaptation"]:
        """The adaptation after each of the ascending numbers of fine-tune steps, along one run."""


@dataclass(frozen=True)
class Start(Adaptation):
    """Adapter weights for the backbone: what most methods propose. Fine-tuned by the common code.

    `episodes` are what the backbone is asked: a method may rewrite their inputs (prompts), never their outputs.
    calibration: temperatures of the probabilities; None leaves them as they are. choices: what the start is for each
    episode, `generated` unless said, and tuned: whether it was fine-tuned since; both say which temperature.
    """

    backbone: Backbone[Any]
    weights: AdapterWeights
    episodes: Sequence[Episode]
    calibration: Calibration | None = None
    choices: Sequence[str] = ()
    tuned: bool = False

    @property
    def parameters(self) -> int:  # type: ignore[override]
        """Numbers in one task's weights."""
        return self.weights.count

    def answers(self) -> list[Answers]:
        """Predictions of the adapted backbone."""
        with self.backbone.adapted(self.weights):
            if not all(episode.labels for episode in self.episodes):
                return [Answers(texts) for texts in self.backbone.predict(self.episodes)]
            probabilities = self._calibrated(self.backbone.probabilities(self.episodes))
        return [labelled(episode, p) for episode, p in zip(self.episodes, probabilities, strict=True)]

    def trained(self, steps: Sequence[int], settings: FinetuneSettings) -> Iterator["Start"]:
        """AdamW on the support, all tasks at once."""
        for count, weights in zip(
            steps, trajectory(self.backbone, self.weights, self.episodes, settings, steps), strict=True
        ):
            yield replace(self, weights=weights, tuned=self.tuned or count > 0)

    def _calibrated(self, rows: list[Tensor]) -> list[Tensor]:
        if self.calibration is None:
            return rows
        choices = self.choices or ["generated"] * len(rows)
        names = [regime(c, self.tuned, shown=bool(e.support)) for c, e in zip(choices, self.episodes, strict=True)]
        return [self.calibration.apply(row, name) for row, name in zip(rows, names, strict=True)]


def labelled(episode: Episode, probabilities: Tensor) -> Answers:
    """The most probable label for each row of `[query label]`."""
    return Answers([episode.labels[index] for index in probabilities.argmax(1).tolist()], probabilities)


class Method(ABC):
    """Proposes how to do episodes; the benchmark fine-tunes, asks and scores all methods alike.

    trainable: whether fine-tune steps make sense after it. needs_support: there is no such method without examples.
    most_support: how many examples a task may show; the benchmark leaves larger tasks out for this method. requires:
    packages that it imports and that a plain install does not have.
    """

    name: str
    trainable: bool = True
    needs_support: bool = False
    most_support: int | None = None
    requires: tuple[str, ...] = ()

    @abstractmethod
    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Adaptation:
        """The adaptation to all episodes at once. Query outputs are blank."""

    def suits(self, backbone: Backbone[Any]) -> bool:
        """Whether the method can be used with a backbone of this kind."""
        return True


@dataclass(frozen=True)
class Materials:
    """What methods are made from: ours, the tasks, and what else can be meta-trained on them at the same cost.

    train: the meta-train tasks. measured: the tasks that are evaluated, by name; only the oracle may look at them.
    learned: another start meta-trained with the budget of ours, by name (`shared`, `maml`, ...), trained when first
    asked for and kept. folder: where a method keeps what it made from the meta-train tasks.
    """

    generator: Generator
    train: Sequence[Task]
    measured: Mapping[str, Task]
    learned: Callable[[str], Generator]
    folder: Path
    seed: int = 0
