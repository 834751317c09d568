"""Frozen features of support and query: for methods that put a classifier on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hyperpeft.backbones import Backbone
from hyperpeft.backbones.prototypes import Prototypes
from hyperpeft.baselines.base import Answers, labelled
from hyperpeft.baselines.fitted import Fitted
from hyperpeft.tasks import Episode

Head = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Shown:
    """What a task shows: features of its support `[example d]`, index of their labels `[example]`.

    texts: features of the label texts `[label d]`, no rows where the backbone does not read them.
    """

    examples: Tensor
    labels: Tensor
    texts: Tensor


@dataclass(frozen=True)
class Classified(Fitted):
    """A classifier a task on the bare backbone's features: unit-length `[query d]` to probabilities `[query label]`."""

    backbone: Prototypes
    episodes: Sequence[Episode]
    heads: Sequence[Head]
    parameters: int

    def answers(self) -> list[Answers]:
        """The most probable labels."""
        features = query_features(self.backbone, self.episodes)
        parts = zip(self.episodes, self.heads, features, strict=True)
        return [labelled(episode, head(queries)) for episode, head, queries in parts]


def has_features(backbone: Backbone[Any]) -> bool:
    """Whether the backbone turns an input into one vector."""
    return isinstance(backbone, Prototypes)


def with_features(backbone: Backbone[Any]) -> Prototypes:
    """The backbone itself. Raises ValueError if it has no features."""
    if not isinstance(backbone, Prototypes):
        raise ValueError(f"backbone {backbone.name} has no features to classify: take an encoder backbone.")
    return backbone


@torch.no_grad()
def support_features(backbone: Prototypes, episodes: Sequence[Episode]) -> list[Shown]:
    """Of each episode, computed together."""
    batch = backbone.support_batch(episodes)
    rows = zip(
        backbone.row_features(batch.inputs), batch.label, batch.is_support, batch.is_label, strict=True
    )  # fmt: skip
    return [Shown(features[shown], label[shown], features[text]) for features, label, shown, text in rows]


@torch.no_grad()
def query_features(backbone: Prototypes, episodes: Sequence[Episode]) -> list[Tensor]:
    """`[query d]` of unit length for each episode, computed together."""
    batch = backbone.query_batch([replace(episode, support=()) for episode in episodes])
    rows = zip(backbone.row_features(batch.inputs), batch.is_scored, strict=True)
    return [functional.normalize(features[scored], dim=-1) for features, scored in rows]
