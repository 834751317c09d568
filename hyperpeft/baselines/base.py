"""What a method is: it proposes where adaptation starts, nothing more."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from hyperpeft.backbones import Backbone
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


class Method(ABC):
    """Proposes start weights for episodes; the benchmark fine-tunes, predicts and scores all methods alike.

    `lr` is the step size of the fine-tune that follows, chosen on meta-validation tasks. `trainable` tells whether a
    fine-tune makes sense.
    """

    name: str
    lr: float = 1e-3
    trainable: bool = True

    @abstractmethod
    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> AdapterWeights:
        """Start weights, one task an episode. Never sees the query's outputs."""
