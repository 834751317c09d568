"""Nearest class mean of frozen features."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method
from hyperpeft.baselines.features import Classified, Shown, has_features, support_features, with_features
from hyperpeft.baselines.fitted import check_support, spread
from hyperpeft.tasks import Episode


class NearestPrototype(Method):
    """The label whose mean of support features is nearest; label texts and descriptions are not used.

    Probabilities are the softmax of the negative squared Euclidean distances of unit-length features times half the
    backbone's own scale of cosines. Snell et al. 2017, arXiv:1703.05175, equations 1 and 2. A label without an
    example is never chosen. Nothing is trained.
    """

    name = "nearest prototype"
    trainable = False
    needs_support = True

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Classified:
        """The class means of each task. Raises ValueError without support."""
        check_support(episodes, self.name)
        featured = with_features(backbone)
        factor = math.exp(featured.readout_defaults()["log_scale"]) / 2
        heads = [
            _head(shown, factor, len(episode.labels))
            for shown, episode in zip(support_features(featured, episodes), episodes, strict=True)
        ]
        return Classified(featured, episodes, heads, parameters=0)

    def suits(self, backbone: Backbone[Any]) -> bool:
        """Backbones with features."""
        return has_features(backbone)


def _head(shown: Shown, factor: float, labels: int) -> partial[Tensor]:
    examples = functional.normalize(shown.examples, dim=-1)
    classes = sorted(set(shown.labels.tolist()))
    means = torch.stack([examples[shown.labels == label].mean(0) for label in classes])
    return partial(_probabilities, means=means, factor=factor, classes=classes, labels=labels)


def _probabilities(queries: Tensor, means: Tensor, factor: float, classes: Sequence[int], labels: int) -> Tensor:
    """`[query label]`."""
    distances = torch.cdist(queries, means, compute_mode="donot_use_mm_for_euclid_dist").square()
    return spread((-factor * distances).softmax(-1), classes, labels)
