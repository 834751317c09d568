"""What a task encoder is: episodes in, task embeddings out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hyperpeft.tasks import Episode


class TaskEncoder(nn.Module, ABC):
    """Turns episodes into task embeddings `[task d_task]`.

    Never sees the query. The order of support examples and of descriptions does not matter; a missing description and
    missing support are legal inputs.
    """

    d_task: int

    @abstractmethod
    def forward(self, episodes: Sequence[Episode]) -> Tensor:
        """`[task d_task]`, on the device of the encoder's parameters."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """`{kind: name, **arguments}` to build an equal encoder (without its learned parameters)."""
