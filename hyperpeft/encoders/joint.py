"""Conditioning on descriptions and support together."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hyperpeft.encoders.base import TaskEncoder
from hyperpeft.tasks import Episode


class Joint(TaskEncoder):
    """A mix of the embeddings that other task encoders make of the same episode, any of whose parts may be missing."""

    def __init__(self, parts: Sequence[TaskEncoder], d_task: int, dropout: float = 0.0):
        super().__init__()
        self.d_task = d_task
        self.dropout = dropout
        self.parts = nn.ModuleList(parts)
        width = sum(part.d_task for part in parts)
        self.mix = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, d_task), nn.GELU(), nn.Linear(d_task, d_task))

    def forward(self, episodes: Sequence[Episode]) -> Tensor:
        """`[task d_task]`."""
        return self.mix(torch.cat([part(episodes) for part in self.parts], dim=-1))

    def settings(self) -> dict[str, Any]:
        """What builds an equal encoder."""
        return {"kind": "joint", "d_task": self.d_task, "dropout": self.dropout}
