"""Conditioning on the words of the task's descriptions, each by itself."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hyperpeft.encoders.base import TaskEncoder
from hyperpeft.encoders.text import TextEncoder
from hyperpeft.tasks import Episode


class Reading(TaskEncoder):
    """Learned queries that attend over the tokens of a description; their answers side by side are the embedding.

    So steps that a description names one after the other stay apart, which the mean over its tokens blurs. The frozen
    states of the tokens after `depth` layers of the text encoder (half of them, unless told) go through `layers`
    transformer layers of width `d_query` first. Perceiver: Jaegle et al. 2021, arXiv:2103.03206. The mean over
    paraphrases is taken last. Learned answers stand for no description. Looks at no example.
    d_task = queries * d_query.
    """

    def __init__(
        self,
        text_encoder: TextEncoder,
        queries: int = 4,
        d_query: int = 128,
        layers: int = 1,
        heads: int = 4,
        dropout: float = 0.0,
        depth: int | None = None,
    ):
        super().__init__()
        self.text_encoder = text_encoder
        self.depth = text_encoder.layers // 2 if depth is None else depth
        self.d_task = queries * d_query
        self.enter = nn.Sequential(nn.LayerNorm(text_encoder.d_text), nn.Linear(text_encoder.d_text, d_query))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(d_query, heads, 2 * d_query, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.read = nn.LayerNorm(d_query)
        self.queries = nn.Parameter(0.5 * torch.randn(queries, d_query))
        self.attend = nn.MultiheadAttention(d_query, heads, dropout, batch_first=True)
        self.answer = nn.Sequential(
            nn.LayerNorm(d_query), nn.Linear(d_query, 2 * d_query), nn.GELU(), nn.Linear(2 * d_query, d_query)
        )
        self.missing = nn.Parameter(torch.zeros(queries, d_query))
        self._settings = {
            "queries": queries,
            "d_query": d_query,
            "layers": layers,
            "heads": heads,
            "dropout": dropout,
            "depth": depth,
        }

    def forward(self, episodes: Sequence[Episode]) -> Tensor:
        """`[task d_task]`."""
        texts = [text for episode in episodes for text in sorted(episode.descriptions)]
        counts = [len(episode.descriptions) for episode in episodes]
        answers = self._answers(texts) if texts else self.missing.new_zeros(0, *self.missing.shape)
        parts = [part.mean(0) if len(part) else self.missing for part in torch.split(answers, counts)]
        return rearrange(torch.stack(parts), "task query d -> task (query d)")

    def _answers(self, texts: Sequence[str]) -> Tensor:
        """`[text query d]`."""
        device = self.missing.device
        states = [self.enter(state.to(device)) for state in self.text_encoder.states(texts, self.depth)]
        read = pad_sequence(states, batch_first=True)
        lengths = torch.tensor([len(state) for state in states], device=device)
        hidden = torch.arange(read.shape[1], device=device) >= rearrange(lengths, "text -> text 1")
        for layer in self.layers:
            read = layer(read, src_key_padding_mask=hidden)
        read = self.read(read)
        queries = self.queries.repeat(len(texts), 1, 1)  # a copy: torch's module tracker stumbles over views of leaves
        found = self.attend(queries, read, read, key_padding_mask=hidden, need_weights=False)[0]
        return found + self.answer(found)

    def settings(self) -> dict[str, Any]:
        """What builds an equal encoder."""
        return {"kind": "reading", **self._settings}
