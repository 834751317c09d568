"""Conditioning on what the task's descriptions say."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hyperpeft.encoders.base import TaskEncoder
from hyperpeft.encoders.text import TextEncoder
from hyperpeft.tasks import Episode


class Description(TaskEncoder):
    """A projection of the mean embedding of the paraphrases; a learned vector where there is no description."""

    def __init__(self, text_encoder: TextEncoder, d_task: int = 256, dropout: float = 0.0):
        super().__init__()
        self.text_encoder = text_encoder
        self.d_task = d_task
        self.missing = nn.Parameter(torch.zeros(text_encoder.d_text))
        self.project = nn.Sequential(
            nn.LayerNorm(text_encoder.d_text),
            nn.Dropout(dropout),
            nn.Linear(text_encoder.d_text, d_task),
            nn.GELU(),
            nn.Linear(d_task, d_task),
        )
        self._settings = {"d_task": d_task, "dropout": dropout}

    def forward(self, episodes: Sequence[Episode]) -> Tensor:
        """`[task d_task]`."""
        device = self.missing.device
        described = torch.tensor([[bool(episode.descriptions)] for episode in episodes], device=device)
        pooled = self.text_encoder.means([sorted(episode.descriptions) for episode in episodes]).to(device)
        return self.project(torch.where(described, pooled, self.missing))

    def settings(self) -> dict[str, Any]:
        """What builds an equal encoder."""
        return {"kind": "description", **self._settings}
