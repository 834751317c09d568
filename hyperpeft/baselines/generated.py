"""Ours: the adapter that a generator makes from descriptions and support, and its controls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from types import MappingProxyType
from typing import Any

from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method, Start
from hyperpeft.config import did_you_mean
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode

Conditioning = Callable[[Sequence[Episode]], list[Episode]]


class Generated(Method):
    """A generated adapter. `conditioning` is a name in CONDITIONINGS: what the generator is told of each task.

    Only what the generator sees is changed by it; label texts and support stay with the backbone.
    Only the joint one is fine-tuned: the controls are about what is generated.
    """

    def __init__(self, generator: Generator, conditioning: str = "joint"):
        if conditioning not in CONDITIONINGS:
            raise ValueError(f"conditioning: there is no {conditioning!r}. {did_you_mean(conditioning, CONDITIONINGS)}")
        self.generator = generator
        self.name = self.name_of(conditioning)
        self.trainable = conditioning == "joint"
        self.tell = CONDITIONINGS[conditioning]

    @staticmethod
    def name_of(conditioning: str) -> str:
        """The method's name with that conditioning."""
        return "generated" if conditioning == "joint" else f"generated, {conditioning}"

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        """One generated adapter an episode."""
        return Start(backbone, self.generator.generate(self.tell(episodes)), episodes, self.generator.calibration)


def joint(episodes: Sequence[Episode]) -> list[Episode]:
    """Everything: descriptions and support."""
    return list(episodes)


def description_only(episodes: Sequence[Episode]) -> list[Episode]:
    """Descriptions without support."""
    return [replace(episode, support=()) for episode in episodes]


def support_only(episodes: Sequence[Episode]) -> list[Episode]:
    """Support without descriptions."""
    return [episode.with_descriptions(()) for episode in episodes]


def paraphrased(episodes: Sequence[Episode]) -> list[Episode]:
    """The last description alone."""
    return [episode.with_descriptions(episode.descriptions[-1:]) for episode in episodes]


def wrong_task(episodes: Sequence[Episode]) -> list[Episode]:
    """Each task described as the one half the list further on: another family, where families stand together.

    Raises ValueError for a single episode: there is no other task to take a description from.
    """
    if len(episodes) < 2:
        raise ValueError("the wrong-task control needs the episodes of two tasks or more at once.")
    half = len(episodes) // 2
    others = [*episodes[half:], *episodes[:half]]
    return [episode.with_descriptions(other.descriptions) for episode, other in zip(episodes, others, strict=True)]


def shuffled(episodes: Sequence[Episode]) -> list[Episode]:
    """The right words of each description in random order."""
    return [e.with_descriptions([_shuffle(text) for text in e.descriptions]) for e in episodes]


def gibberish(episodes: Sequence[Episode]) -> list[Episode]:
    """Words of random letters, as many and as long as the description's."""
    return [e.with_descriptions([_scramble(text) for text in e.descriptions]) for e in episodes]


def _shuffle(text: str) -> str:
    words = text.split()
    return " ".join(Random(text).sample(words, len(words)))


def _scramble(text: str) -> str:
    random = Random(text)
    return " ".join("".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=len(word))) for word in text.split())


CONDITIONINGS: Mapping[str, Conditioning] = MappingProxyType(
    {
        "joint": joint,
        "description only": description_only,
        "support only": support_only,
        "paraphrased": paraphrased,
        "wrong-task description": wrong_task,
        "shuffled description": shuffled,
        "gibberish description": gibberish,
    }
)
