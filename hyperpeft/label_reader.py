"""What each label stands for, read from the descriptions: vectors and gains for the labels of a prototype backbone."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from hyperpeft.backbones.prototypes import LABEL_GAIN, LABEL_VECTOR
from hyperpeft.encoders.notes import notes
from hyperpeft.encoders.text import TextEncoder
from hyperpeft.tasks import Episode

PACE = 5.0


class LabelReader(nn.Module):
    """Generates, for each label that the descriptions explain, a vector and a gain of the label text's weight.

    c is the mean embedding of the notes on the label (`encoders.notes`), e that of the label's text. The vector is g c,
    g in (0, 2); g and the gain are linear in three cosines: of e and c (does the label say by itself what is said of
    it?), of e and the other labels' e, of c and the other labels' c (does either tell the labels apart?). Eight learned
    numbers: functions of the embeddings themselves learn the training tasks' labels by heart. Labels without a note get
    zeros. Embeddings are those of the frozen text encoder, so its model must be the backbone's. Never sees support or
    query.
    """

    def __init__(self, text_encoder: TextEncoder):
        super().__init__()
        self.text_encoder = text_encoder
        self.gates = nn.Linear(3, 2)
        nn.init.zeros_(self.gates.weight)
        nn.init.zeros_(self.gates.bias)

    def settings(self) -> dict[str, Any]:
        """The arguments that settings may give: none."""
        return {}

    def forward(self, episodes: Sequence[Episode]) -> dict[str, Tensor]:
        """`label_vector` `[task label d_text]` and `label_gain` `[task label]`, zero beyond a task's labels."""
        device, counts = self.gates.weight.device, [len(episode.labels) for episode in episodes]
        told = [notes(episode.descriptions, episode.labels) for episode in episodes]
        said = self.text_encoder.means([texts for task in told for texts in task]).to(device)
        labels = self.text_encoder([label for episode in episodes for label in episode.labels]).to(device)
        read = [*map(self._read, torch.split(labels, counts), torch.split(said, counts))]
        vectors, gains = [vector for vector, _ in read], [gain for _, gain in read]
        return {
            LABEL_VECTOR: pad_sequence(vectors, batch_first=True),
            LABEL_GAIN: pad_sequence(gains, batch_first=True),
        }

    def _read(self, labels: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        """`[label d_text]` and `[label]` of one task; where nothing is said, zeros."""
        if not said.any():
            return said, said.new_zeros(len(said))
        alike = functional.cosine_similarity(labels, said, dim=-1)
        gate, gain = (PACE * self.gates(torch.stack([alike, _crowding(labels), _crowding(said)], dim=-1))).unbind(-1)
        return rearrange(2 * torch.sigmoid(gate), "label -> label 1") * said, gain


def _crowding(vectors: Tensor) -> Tensor:
    """Mean cosine of each row with the others: `[row d]` to `[row]`."""
    unit = functional.normalize(vectors, dim=-1)
    return ((unit @ unit.T).sum(1) - 1) / max(1, len(unit) - 1)
