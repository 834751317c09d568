"""Conditioning on the support examples."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
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
        device = self.missing.device
        labelled = torch.tensor([[bool(episode.labels)] for episode in episodes], device=device)
        labels = self.text_encoder.means([sorted(episode.labels) for episode in episodes]).to(device)
        return self.pooled(self._pooled_pairs(episodes)) + self.labels(torch.where(labelled, labels, self.no_labels))

    def _pooled_pairs(self, episodes: Sequence[Episode]) -> Tensor:
        """Mean over each task's pairs, `[task d_task]`; all pairs of all tasks go through in one product."""
        device = self.missing.device
        counts = torch.tensor([len(episode.support) for episode in episodes], device=device)
        pairs = [pair for episode in episodes for pair in sorted((e.input, e.output) for e in episode.support)]
        texts = [text for text, _ in pairs] + [text for _, text in pairs]
        inputs, outputs = self.text_encoder(texts).to(device).tensor_split(2)
        encoded = self.pair(torch.cat([inputs, outputs, inputs * outputs, inputs - outputs], dim=-1))
        task = torch.repeat_interleave(torch.arange(len(episodes), device=device), counts)
        sums = torch.zeros(len(episodes), self.d_task, device=device).index_add(0, task, encoded)
        counts = rearrange(counts, "task -> task 1")
        return torch.where(counts > 0, sums / counts.clamp(min=1), self.missing)

    def settings(self) -> dict[str, Any]:
        """What builds an equal encoder."""
        return {"kind": "support", **self._settings}
