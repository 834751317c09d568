"""Conditioning on the support examples."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hyperpeft.encoders.base import TaskEncoder
from hyperpeft.encoders.text import TextEncoder
from hyperpeft.tasks import Episode


class Support(TaskEncoder):
    """A set encoding of (input, output) pairs, label texts included. Deep sets: Zaheer et al. 2017, arXiv:1703.06114.

    A pair is seen as the embeddings of its input and output, their product and difference. The mean over pairs is
    invariant to their order. Label texts enter by their mean embedding. A learned vector stands for no support.
    """

    def __init__(self, text_encoder: TextEncoder, d_task: int = 256, dropout: float = 0.0):
        super().__init__()
        self.text_encoder = text_encoder
        self.d_task = d_task
        d_text = text_encoder.d_text
        self.missing = nn.Parameter(torch.zeros(d_task))
        self.no_labels = nn.Parameter(torch.zeros(d_text))
        self.pair = nn.Sequential(
            nn.LayerNorm(4 * d_text), nn.Dropout(dropout), nn.Linear(4 * d_text, d_task), nn.GELU()
        )
        self.pooled = nn.Linear(d_task, d_task)
        self.labels = nn.Sequential(nn.LayerNorm(d_text), nn.Linear(d_text, d_task))
        self._settings = {"d_task": d_task, "dropout": dropout}

    def forward(self, episodes: Sequence[Episode]) -> Tensor:
        """`[task d_task]`."""
        pairs = torch.stack([self._pooled_pairs(episode) for episode in episodes])
        labels = torch.stack([self._pooled_labels(episode) for episode in episodes])
        return self.pooled(pairs) + self.labels(labels)

    def _pooled_pairs(self, episode: Episode) -> Tensor:
        if not episode.support:
            return self.missing
        examples = sorted(episode.support, key=lambda example: (example.input, example.output))
        device = self.missing.device
        inputs = self.text_encoder([example.input for example in examples]).to(device)
        outputs = self.text_encoder([example.output for example in examples]).to(device)
        return self.pair(torch.cat([inputs, outputs, inputs * outputs, inputs - outputs], dim=-1)).mean(0)

    def _pooled_labels(self, episode: Episode) -> Tensor:
        if not episode.labels:
            return self.no_labels
        return self.text_encoder(sorted(episode.labels)).mean(0).to(self.no_labels.device)

    def settings(self) -> dict[str, Any]:
        """What builds an equal encoder."""
        return {"kind": "support", **self._settings}
