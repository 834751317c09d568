"""What each label stands for, read from the descriptions: vectors and gains for the labels of a prototype backbone."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hyperpeft.backbones.prototypes import LABEL_GAIN, LABEL_VECTOR
from hyperpeft.encoders.notes import note
from hyperpeft.encoders.text import TextEncoder
from hyperpeft.tasks import Episode

PACE = 5.0
SHUT = -3.0


class LabelReader(nn.Module):
    """Generates, for each label that a description explains, a vector and a gain of the label text's weight.

    c is the mean embedding of the notes on the label (`encoders.notes.note`), e that of the label's text. The vector is
    g (c + low-rank c) with g in (0, 2), a learned function of e, c and their product, so that meta-training decides
    which notes to believe; the gain is another such function. Labels without a note get zeros. Embeddings are those of
    the frozen text encoder, so its model must be the backbone's. Before training g is about 0.1: labels speak for
    themselves until meta-training opens the gate for those that do not. Never sees support or query.
    """

    def __init__(self, text_encoder: TextEncoder, d_hidden: int = 32, rank: int = 16, dropout: float = 0.1):
        super().__init__()
        self.text_encoder = text_encoder
        d_text = text_encoder.d_text
        last = nn.Linear(d_hidden, 2)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([SHUT / PACE, 0.0]))
        self.gates = nn.Sequential(nn.Linear(3 * d_text, d_hidden), nn.GELU(), nn.Dropout(dropout), last)
        self.down = nn.Linear(d_text, rank, bias=False)
        self.up = nn.Linear(rank, d_text, bias=False)
        nn.init.zeros_(self.up.weight)
        self._settings = {"d_hidden": d_hidden, "rank": rank, "dropout": dropout}

    def settings(self) -> dict[str, Any]:
        """The arguments that settings may give."""
        return dict(self._settings)

    def forward(self, episodes: Sequence[Episode]) -> dict[str, Tensor]:
        """`label_vector` `[task label d_text]` and `label_gain` `[task label]`, zero beyond a task's labels."""
        device = self.up.weight.device
        told = [[_notes(episode, label) for label in episode.labels] for episode in episodes]
        notes = _padded([torch.stack([self._mean(texts) for texts in task]) for task in told]).to(device)
        labels = _padded([self.text_encoder(episode.labels) for episode in episodes]).to(device)
        known = _padded([torch.tensor([float(bool(texts)) for texts in task]) for task in told]).to(device)
        gate, gain = (PACE * self.gates(torch.cat([labels, notes, labels * notes], dim=-1))).unbind(-1)
        vector = notes + self.up(self.down(notes))
        strength = rearrange(2 * torch.sigmoid(gate) * known, "task label -> task label 1")
        return {LABEL_VECTOR: strength * vector, LABEL_GAIN: gain * known}

    def _mean(self, texts: Sequence[str]) -> Tensor:
        return self.text_encoder(texts).sum(0) / max(1, len(texts))


def _notes(episode: Episode, label: str) -> list[str]:
    """What each description says about the label; sorted, so that the order of descriptions does not matter."""
    return sorted(filter(None, (note(text, label, episode.labels) for text in episode.descriptions)))


def _padded(tasks: Sequence[Tensor]) -> Tensor:
    return pad_sequence(list(tasks), batch_first=True)
