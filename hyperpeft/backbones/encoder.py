"""Text encoders as backbones: classes are the label texts and the support examples, so any label set works."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from einops import einsum, rearrange
from torch import Tensor
from torch.nn import functional
from transformers import AutoModel
from transformers.utils import cached_file

from hyperpeft.backbones.base import Backbone, Scores
from hyperpeft.backbones.buckets import Buckets, bucket, pool
from hyperpeft.backbones.pretrained import MINILM, fast_dtype, load_pretrained, resolve
from hyperpeft.backbones.tokens import Tokens, level
from hyperpeft.tasks import Episode, Example

Pooling = Literal["auto", "mean", "cls"]
QUERY_ROWS = 64


@dataclass(frozen=True)
class EncoderBatch:
    """Rows of several tasks: label texts, support examples, scored examples.

    texts: their tokens. label: `[task row]`, index in the task's label set, -1 for none.
    is_label, is_support, is_scored: `[task row]`. present: `[task label]`.
    """

    texts: Buckets
    label: Tensor
    is_label: Tensor
    is_support: Tensor
    is_scored: Tensor
    present: Tensor

    def to(self, device: torch.device) -> "EncoderBatch":
        """On another device."""
        return EncoderBatch(*(getattr(self, field.name).to(device) for field in fields(self)))


class Encoder(Backbone[EncoderBatch]):
    """A frozen text encoder that classifies by cosine to prototypes. The input only is encoded, never a description.

    The prototype of a label is the sum of its support examples' features and of the label text's feature times
    `label_weight`; a scored example never counts in its own prototype (leave-one-out), so the same rule scores the
    query and the support. Logits are cosines times a scale. Prototypical networks: Snell et al. 2017, arXiv:1703.05175.
    `pooling="auto"` reads a sentence-transformers folder's own pooling file, else takes the mean.
    """

    classifies = True

    def __init__(
        self,
        model: str = MINILM,
        max_tokens: int = 128,
        dtype: str = "auto",
        pooling: str = "auto",
        trust_remote_code: bool = False,
    ):
        loaded, tokenizer = load_pretrained(
            AutoModel, model, dtype=fast_dtype(dtype), trust_remote_code=trust_remote_code
        )
        super().__init__(loaded, tokenizer, model)
        self._settings = {
            "model": model,
            "max_tokens": max_tokens,
            "dtype": dtype,
            "pooling": pooling,
            "trust_remote_code": trust_remote_code,
        }
        self.tokens = Tokens(tokenizer, max_tokens)
        self.pooling = _pooling(resolve(model)) if pooling == "auto" else pooling

    def settings(self) -> dict[str, Any]:
        """What builds an equal backbone."""
        return {"kind": "encoder", **self._settings}

    def readout_defaults(self) -> dict[str, float]:
        """log of the scale of the cosines, log of the weight of a label's text (in support examples)."""
        return {"log_scale": 3.0, "log_label_weight": 0.0}

    def check(self, episode: Episode) -> None:
        """A label set of at least two labels is needed."""
        if len(episode.labels) < 2:
            raise ValueError(
                f"task {episode.task!r} has {len(episode.labels)} label(s): an encoder backbone chooses among at least "
                "two. Pass labels=[...], or examples of two or more labels; free text needs a causal_lm backbone."
            )

    def support_batch(self, episodes: Sequence[Episode]) -> EncoderBatch:
        """Label texts and support; each support example is scored with itself left out of its prototype."""
        return self._batch(episodes, scored="support")

    def query_batch(self, episodes: Sequence[Episode]) -> EncoderBatch:
        """Label texts, support and query; the query is scored."""
        return self._batch(episodes, scored="query")

    def _batch(self, episodes: Sequence[Episode], scored: Literal["support", "query"]) -> EncoderBatch:
        queries = [episode.query if scored == "query" else () for episode in episodes]
        rows = [_texts(episode, query) for episode, query in zip(episodes, queries, strict=True)]
        width = level(rows)
        label, role = _labels_and_roles(episodes, queries, width)
        labels = max(len(episode.labels) for episode in episodes)
        present = torch.tensor([[index < len(episode.labels) for index in range(labels)] for episode in episodes])
        is_scored = role == (2 if scored == "query" else 1)
        texts = self._tokenise(rows, width)
        return EncoderBatch(texts, label, role == 0, role == 1, is_scored, present).to(self.device)

    def _tokenise(self, groups: Sequence[Sequence[str]], width: int) -> Buckets:
        """Tokens of each task's texts, empty texts added up to `width`."""
        rows = [[*self.tokens(group), *[[]] * (width - len(group))] for group in groups]
        return bucket(rows, self.tokenizer.pad_token_id or 0)

    def features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Pooled and normalised features of padded texts, `[row d]` in fp32, under the installed weights."""
        return pool(self.model(input_ids=ids, attention_mask=mask).last_hidden_state, mask, self.pooling)

    def score(self, batch: EncoderBatch) -> Scores:
        """Mean cross-entropy and accuracy of each task's scored rows."""
        logits = self.logits(batch)
        target = batch.label.where(batch.is_scored, -100)
        losses = functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100, reduction="none")
        scored = batch.is_scored.sum(1)
        right = (logits.argmax(-1) == target).sum(1)
        return Scores(losses.view_as(target).sum(1) / scored, right / scored)

    def logits(self, batch: EncoderBatch) -> Tensor:
        """`[task row label]`; meaningful for scored rows."""
        features = batch.texts.features(self.model, self.pooling)
        member = self._membership(batch)
        sums = einsum(member, features, "task row label, task row d -> task label d")
        return self._scores(features, member, sums, batch.present)

    def _membership(self, batch: EncoderBatch) -> Tensor:
        """How much each row counts in each prototype: `[task row label]`."""
        one_hot = functional.one_hot(batch.label.clamp(min=0), batch.present.shape[1]).float()
        label_weight = self._number("log_label_weight").exp()
        weight = batch.is_support.float() + batch.is_label.float() * rearrange(label_weight, "task -> task 1")
        return one_hot * rearrange(weight, "task row -> task row 1")

    def _scores(self, features: Tensor, member: Tensor | float, sums: Tensor, present: Tensor) -> Tensor:
        """Scaled cosines of rows with the prototypes less the row's own share; -inf where a task lacks the label."""
        dot = einsum(features, sums, "task row d, task label d -> task row label")
        norm = rearrange(sums.square().sum(-1), "task label -> task 1 label")
        left_out = (norm - 2 * member * dot + member * member).clamp(min=1e-6).sqrt()
        scale = rearrange(self._number("log_scale").exp(), "task -> task 1 1")
        return (scale * (dot - member) / left_out).masked_fill(~rearrange(present, "task label -> task 1 label"), -1e9)

    def _number(self, name: str) -> Tensor:
        if self._readout is None:
            return torch.tensor([self.readout_defaults()[name]], device=self.device)
        return self._readout[name]

    def predict(self, episodes: Sequence[Episode]) -> list[list[str]]:
        """The most probable label for each query input."""
        chosen = [probabilities.argmax(1).tolist() for probabilities in self.probabilities(episodes)]
        return [[episode.labels[index] for index in row] for episode, row in zip(episodes, chosen, strict=True)]

    @torch.no_grad()
    def probabilities(self, episodes: Sequence[Episode]) -> list[Tensor]:
        """Softmax over each task's labels, `[query label]`; prototypes are computed once for all query inputs."""
        batch = self.support_batch(episodes)
        features = batch.texts.features(self.model, self.pooling)
        sums = einsum(self._membership(batch), features, "task row label, task row d -> task label d")
        parts = [
            self._scores(self._query_features(episodes, start), 0.0, sums, batch.present)
            for start in range(0, max(len(episode.query) for episode in episodes), QUERY_ROWS)
        ]
        logits = torch.cat(parts, dim=1).softmax(-1)
        return [row[: len(e.query), : len(e.labels)].cpu() for e, row in zip(episodes, logits, strict=True)]

    def _query_features(self, episodes: Sequence[Episode], start: int) -> Tensor:
        texts = [[example.input for example in episode.query[start : start + QUERY_ROWS]] for episode in episodes]
        return self._tokenise(texts, level(texts)).to(self.device).features(self.model, self.pooling)


def _texts(episode: Episode, query: Sequence[Example]) -> list[str]:
    described = episode.label_descriptions or ("",) * len(episode.labels)
    labels = [f"{label}: {text}" if text else label for label, text in zip(episode.labels, described, strict=True)]
    return labels + [example.input for example in (*episode.support, *query)]


def _labels_and_roles(
    episodes: Sequence[Episode], queries: Sequence[Sequence[Example]], width: int
) -> tuple[Tensor, Tensor]:
    """`[task row]` label index (-1: none) and role (0 label text, 1 support, 2 query, 3 padding)."""
    labels, roles = [], []
    for episode, query in zip(episodes, queries, strict=True):
        index = {label: position for position, label in enumerate(episode.labels)}
        known = [index[example.output] for example in episode.support] + [index.get(e.output, -1) for e in query]
        filler = width - len(index) - len(known)
        labels.append([*range(len(index)), *known, *[-1] * filler])
        roles.append([0] * len(index) + [1] * len(episode.support) + [2] * len(query) + [3] * filler)
    return torch.tensor(labels), torch.tensor(roles)


def _pooling(place: str) -> str:
    """`cls` or `mean`, as a sentence-transformers folder says in its own pooling file; `mean` for other encoders."""
    file = cached_file(
        place,
        "1_Pooling/config.json",
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    settings = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    return "cls" if settings.get("pooling_mode_cls_token") else "mean"
