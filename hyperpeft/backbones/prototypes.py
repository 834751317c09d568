"""Few-shot classification by cosine to prototypes, whatever the features are of: texts, images."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import torch
from einops import einsum, rearrange
from torch import Tensor
from torch.nn import functional

from hyperpeft.backbones.base import Backbone, Scores
from hyperpeft.backbones.tokens import level
from hyperpeft.tasks import Episode, Example

QUERY_ROWS = 64
LABEL_VECTOR, LABEL_GAIN = "label_vector", "label_gain"
Groups = Sequence[Sequence[str]]


class Inputs(Protocol):
    """What a model reads, on a device."""

    def to(self, device: torch.device) -> "Inputs":
        """On another device."""


@dataclass(frozen=True)
class PrototypeBatch:
    """Rows of several tasks: label texts (where the backbone reads them), support examples, scored examples.

    inputs: what the model reads. label: `[task row]`, index in the task's label set, -1 for none.
    is_label, is_support, is_scored: `[task row]`. present: `[task label]`.
    """

    inputs: Inputs
    label: Tensor
    is_label: Tensor
    is_support: Tensor
    is_scored: Tensor
    present: Tensor

    def to(self, device: torch.device) -> "PrototypeBatch":
        """On another device."""
        return PrototypeBatch(*(getattr(self, field.name).to(device) for field in fields(self)))


class Prototypes(Backbone[PrototypeBatch]):
    """A frozen model of features that classifies by cosine to prototypes. Descriptions are never encoded.

    The prototype of a label is the sum of its support examples' features and of the label text's feature times
    `label_weight`; a scored example never counts in its own prototype (leave-one-out), so the same rule scores the
    query and the support. Logits are cosines times a scale. Prototypical networks: Snell et al. 2017, arXiv:1703.05175.
    Adapter weights may bring, in their read-out, `label_vector` `[task label d]`, added to the prototypes, and
    `label_gain` `[task label]`, added to the log of the label text's weight: what a description tells of each label.
    `reads_labels`: whether label texts have features.
    """

    classifies = True
    reads_labels: bool = True

    @abstractmethod
    def inputs(self, labels: Groups, examples: Groups, width: int) -> Inputs:
        """Label texts, then examples' inputs of each task, filled up to `width` rows a task."""

    @abstractmethod
    def row_features(self, inputs: Any) -> Tensor:
        """`[task row d]` in fp32, under the installed weights."""

    def readout_defaults(self) -> dict[str, float]:
        """log of the scale of the cosines, log of the weight of a label's text (in support examples)."""
        scale = {"log_scale": 3.0}
        return {**scale, "log_label_weight": 0.0} if self.reads_labels else scale

    def check(self, episode: Episode) -> None:
        """A label set of at least two labels is needed, and support for each where label texts are not read."""
        if len(episode.labels) < 2:
            raise ValueError(
                f"task {episode.task!r} has {len(episode.labels)} label(s): this backbone chooses among at least "
                "two. Pass labels=[...] (--label), or examples of two or more labels; free text needs a causal_lm or "
                "seq2seq backbone."
            )
        unseen = sorted(set(episode.labels) - {example.output for example in episode.support})
        if unseen and not self.reads_labels:
            raise ValueError(
                f"task {episode.task!r} has no example of the label(s) {unseen[:5]}, and backbone {self.name} cannot "
                "read their texts. Give an example of each, or take a backbone that reads label texts (CLIP)."
            )

    def support_batch(self, episodes: Sequence[Episode]) -> PrototypeBatch:
        """Label texts and support; each support example is scored with itself left out of its prototype."""
        return self._batch(episodes, scored="support")

    def query_batch(self, episodes: Sequence[Episode]) -> PrototypeBatch:
        """Label texts, support and query; the query is scored."""
        return self._batch(episodes, scored="query")

    def _batch(self, episodes: Sequence[Episode], scored: Literal["support", "query"]) -> PrototypeBatch:
        queries = [episode.query if scored == "query" else () for episode in episodes]
        labels = [_label_texts(episode) if self.reads_labels else [] for episode in episodes]
        examples = [
            [example.input for example in (*episode.support, *query)]
            for episode, query in zip(episodes, queries, strict=True)
        ]
        width = level([[*texts, *inputs] for texts, inputs in zip(labels, examples, strict=True)])
        label, role = _labels_and_roles(episodes, queries, width, self.reads_labels)
        count = max(len(episode.labels) for episode in episodes)
        present = torch.tensor([[index < len(episode.labels) for index in range(count)] for episode in episodes])
        is_scored = role == (2 if scored == "query" else 1)
        inputs = self.inputs(labels, examples, width)
        return PrototypeBatch(inputs, label, role == 0, role == 1, is_scored, present).to(self.device)

    def score(self, batch: PrototypeBatch) -> Scores:
        """Mean cross-entropy and accuracy of each task's scored rows."""
        logits = self.logits(batch)
        target = batch.label.where(batch.is_scored, -100)
        losses = functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100, reduction="none")
        scored = batch.is_scored.sum(1)
        right = (logits.argmax(-1) == target).sum(1)
        return Scores(losses.view_as(target).sum(1) / scored, right / scored)

    def logits(self, batch: PrototypeBatch) -> Tensor:
        """`[task row label]`; meaningful for scored rows."""
        features = self.row_features(batch.inputs)
        member = self._membership(batch)
        return self._scores(features, member, self._sums(features, member), batch.present)

    def _membership(self, batch: PrototypeBatch) -> Tensor:
        """How much each row counts in each prototype: `[task row label]`."""
        labels = batch.present.shape[1]
        one_hot = functional.one_hot(batch.label.clamp(min=0), labels).float()
        weight = rearrange(batch.is_support.float(), "task row -> task row 1")
        if self.reads_labels:
            is_label = rearrange(batch.is_label.float(), "task row -> task row 1")
            weight = weight + is_label * rearrange(self._label_weight(labels), "task label -> task 1 label")
        return one_hot * weight

    def _label_weight(self, labels: int) -> Tensor:
        """Weight of each label's text, in support examples: `[task label]`, or `[task 1]` where all weigh the same."""
        weight = rearrange(self._number("log_label_weight"), "task -> task 1")
        if self._readout is not None and LABEL_GAIN in self._readout:
            weight = weight + _labels_wide(self._readout[LABEL_GAIN], labels)
        return weight.exp()

    def _scores(self, features: Tensor, member: Tensor | float, sums: Tensor, present: Tensor) -> Tensor:
        """Scaled cosines of rows with the prototypes less the row's own share; -1e9 where a task lacks the label."""
        square = rearrange(features.square().sum(-1), "task row -> task row 1").clamp(min=1e-12)
        dot = einsum(features, sums, "task row d, task label d -> task row label")
        norm = rearrange(sums.square().sum(-1), "task label -> task 1 label")
        left_out = (norm - 2 * member * dot + member * member * square).clamp(min=1e-6).sqrt()
        scale = rearrange(self._number("log_scale").exp(), "task -> task 1 1")
        cosine = (dot - member * square) / (left_out * square.sqrt())
        return (scale * cosine).masked_fill(~rearrange(present, "task label -> task 1 label"), -1e9)

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
        sums = self._support_sums(batch)
        parts = [
            self._scores(self._query_features(episodes, start), 0.0, sums, batch.present)
            for start in range(0, max(len(episode.query) for episode in episodes), QUERY_ROWS)
        ]
        logits = torch.cat(parts, dim=1).softmax(-1)
        return [row[: len(e.query), : len(e.labels)].cpu() for e, row in zip(episodes, logits, strict=True)]

    def _sums(self, features: Tensor, member: Tensor) -> Tensor:
        """The unscaled prototypes, `[task label d]`: weighted rows, and what was generated for each label."""
        sums = einsum(member, features, "task row label, task row d -> task label d")
        if self._readout is not None and LABEL_VECTOR in self._readout:
            return sums + _labels_wide(self._readout[LABEL_VECTOR], sums.shape[1])
        return sums

    def _support_sums(self, batch: PrototypeBatch) -> Tensor:
        return self._sums(self.row_features(batch.inputs), self._membership(batch))

    @torch.no_grad()
    def prototypes(self, episode: Episode) -> tuple[Tensor, float]:
        """`[label d]` and a scale: query logits are scale * unit feature @ prototypes.T, under the installed weights.

        Read off the scores of the axes of the feature space, so it holds for any scores linear in the unit feature.
        """
        batch = self.support_batch([episode])
        sums = self._support_sums(batch)
        axes = rearrange(torch.eye(sums.shape[-1], device=sums.device), "row d -> 1 row d")
        scale = float(self._number("log_scale").exp())
        logits = self._scores(axes, 0.0, sums, batch.present)
        return rearrange(logits / scale, "1 d label -> label d"), scale

    def _query_features(self, episodes: Sequence[Episode], start: int) -> Tensor:
        texts = [[example.input for example in episode.query[start : start + QUERY_ROWS]] for episode in episodes]
        return self.row_features(self.inputs([[] for _ in episodes], texts, level(texts)).to(self.device))


def _labels_wide(values: Tensor, labels: int) -> Tensor:
    """`[task label ...]` cut or filled up with zeros to so many labels: tasks of other sizes may have stood beside."""
    missing = max(0, labels - values.shape[1])
    return torch.cat([values, values.new_zeros(values.shape[0], missing, *values.shape[2:])], dim=1)[:, :labels]


def _label_texts(episode: Episode) -> list[str]:
    described = episode.label_descriptions or ("",) * len(episode.labels)
    return [f"{label}: {text}" if text else label for label, text in zip(episode.labels, described, strict=True)]


def _labels_and_roles(
    episodes: Sequence[Episode], queries: Sequence[Sequence[Example]], width: int, reads_labels: bool
) -> tuple[Tensor, Tensor]:
    """`[task row]` label index (-1: none) and role (0 label text, 1 support, 2 query, 3 padding)."""
    labels, roles = [], []
    for episode, query in zip(episodes, queries, strict=True):
        index = {label: position for position, label in enumerate(episode.labels)}
        texts = list(range(len(index))) if reads_labels else []
        known = [index[example.output] for example in episode.support] + [index.get(e.output, -1) for e in query]
        filler = width - len(texts) - len(known)
        labels.append([*texts, *known, *[-1] * filler])
        roles.append([0] * len(texts) + [1] * len(episode.support) + [2] * len(query) + [3] * filler)
    return torch.tensor(labels), torch.tensor(roles)
