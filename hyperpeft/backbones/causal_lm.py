"""Causal language models as backbones: labels are scored, text is generated, loss is on the output tokens only."""

import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, GenerationConfig

from hyperpeft.backbones.base import Backbone, Scores
from hyperpeft.backbones.pretrained import fast_dtype, load_pretrained
from hyperpeft.backbones.tokens import level, pad
from hyperpeft.prompts import Prompt
from hyperpeft.tasks import Episode, Example

log = logging.getLogger(__name__)
IGNORED = -100
ROWS = 64


@dataclass(frozen=True)
class CausalLmBatch:
    """Left-padded sequences `[(task row) token]`; targets are the answer's tokens, -100 elsewhere. tasks: how many."""

    ids: Tensor
    mask: Tensor
    targets: Tensor
    tasks: int


class CausalLm(Backbone[CausalLmBatch]):
    """Any AutoModelForCausalLM. It reads the input, never the description.

    With a label set, the label whose tokens (and end of sequence) have the highest mean log-probability is predicted;
    without, text is generated greedily up to `max_new_tokens`.
    """

    def __init__(
        self,
        model: str,
        max_tokens: int = 256,
        max_new_tokens: int = 64,
        template: str = "{input}\n",
        chat: bool = True,
        dtype: str = "auto",
        trust_remote_code: bool = False,
    ):
        loaded, tokenizer = load_pretrained(
            AutoModelForCausalLM, model, dtype=fast_dtype(dtype), trust_remote_code=trust_remote_code
        )
        super().__init__(loaded, tokenizer, model)
        self._settings = {
            "model": model,
            "max_tokens": max_tokens,
            "max_new_tokens": max_new_tokens,
            "template": template,
            "chat": chat,
            "dtype": dtype,
            "trust_remote_code": trust_remote_code,
        }
        self.max_tokens = max_tokens
        self.max_new_tokens = max_new_tokens
        self.prompt = Prompt(tokenizer, template, chat)
        self._takes = inspect.signature(loaded.forward).parameters
        self._rows: dict[tuple[str, str], tuple[list[int], list[int]]] = {}

    def settings(self) -> dict[str, Any]:
        """What builds an equal backbone."""
        return {"kind": "causal_lm", **self._settings}

    def readout_defaults(self) -> dict[str, float]:
        """None: the language model's own head is the read-out."""
        return {}

    def check(self, episode: Episode) -> None:
        """Every task will do: with a label set or without."""

    def support_batch(self, episodes: Sequence[Episode]) -> CausalLmBatch:
        """The support as prompt and answer."""
        return self._batch([episode.support for episode in episodes])

    def query_batch(self, episodes: Sequence[Episode]) -> CausalLmBatch:
        """The query as prompt and answer; the support is not in the prompt."""
        return self._batch([episode.query for episode in episodes])

    def _batch(self, groups: Sequence[Sequence[Example]]) -> CausalLmBatch:
        width = level(groups)
        rows: list[tuple[list[int], list[int]]] = []
        for group in groups:
            rows += [self._row(example) for example in group] + [([], [])] * (width - len(group))
        ids, mask = pad([prompt + answer for prompt, answer in rows], self._pad_id, left=True)
        targets, _ = pad([[IGNORED] * len(prompt) + answer for prompt, answer in rows], IGNORED, left=True)
        return CausalLmBatch(ids.to(self.device), mask.to(self.device), targets.to(self.device), len(groups))

    def _row(self, example: Example) -> tuple[list[int], list[int]]:
        key = (example.input, example.output)
        if key not in self._rows:
            self._rows[key] = self._encode(example)
        return self._rows[key]

    def _encode(self, example: Example) -> tuple[list[int], list[int]]:
        answer = self.prompt.answer_ids(example.output)
        if len(answer) > self.max_tokens // 2:
            log.warning("an output of %d tokens is cut to %d (half of max_tokens)", len(answer), self.max_tokens // 2)
            answer = answer[: self.max_tokens // 2]
        return self.prompt.ids(example.input, self.max_tokens - len(answer)), answer

    @property
    def _pad_id(self) -> int:
        known = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(token for token in known if token is not None)

    def score(self, batch: CausalLmBatch) -> Scores:
        """Mean over a task's rows of the mean negative log-likelihood of the answer's tokens."""
        score, right, tokens = self._log_likelihood(batch)
        rows = rearrange(-score / tokens.clamp(min=1), "(task row) -> task row", task=batch.tasks)
        real = rearrange(tokens > 0, "(task row) -> task row", task=batch.tasks)
        whole = rearrange(right == tokens, "(task row) -> task row", task=batch.tasks) & real
        return Scores((rows * real).sum(1) / real.sum(1), whole.sum(1) / real.sum(1))

    def _log_likelihood(self, batch: CausalLmBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Of each row's answer: summed log-likelihood, number of tokens predicted right, number of tokens.

        Answers end the left-padded rows, so logits are computed for the last positions only.
        """
        answered = (batch.targets != IGNORED).sum(1)
        keep = int(answered.max()) + 1
        extra: dict[str, Any] = {"logits_to_keep": keep} if "logits_to_keep" in self._takes else {}
        if "position_ids" in self._takes:
            extra["position_ids"] = (batch.mask.cumsum(1) - 1).clamp(min=0)
        output = self.model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False, **extra)
        logits = output.logits[:, -keep:-1].float()
        targets = batch.targets[:, -keep + 1 :]
        losses = functional.cross_entropy(
            rearrange(logits, "row token word -> (row token) word"),
            targets.flatten(),
            ignore_index=IGNORED,
            reduction="none",
        )
        right = (logits.argmax(-1) == targets).sum(1)
        return -losses.view_as(targets).sum(1), right, answered

    @torch.no_grad()
    def probabilities(self, episodes: Sequence[Episode]) -> list[Tensor]:
        """Softmax over labels of the mean log-probability of their tokens, `[query label]`."""
        groups = [[Example(e.input, label) for e in episode.query for label in episode.labels] for episode in episodes]
        scores = [self._mean_log_likelihood(part) for part in _chunks(groups)]
        joined = [list(chain.from_iterable(parts)) for parts in zip(*scores, strict=True)]
        return [
            rearrange(torch.tensor(row), "(query label) -> query label", label=len(episode.labels)).softmax(-1)
            for episode, row in zip(episodes, joined, strict=True)
        ]

    def _mean_log_likelihood(self, groups: Sequence[Sequence[Example]]) -> list[list[float]]:
        score, _, tokens = self._log_likelihood(self._batch(groups))
        rows = rearrange(score / tokens.clamp(min=1), "(task row) -> task row", task=len(groups)).tolist()
        return [row[: len(group)] for row, group in zip(rows, groups, strict=True)]

    def predict(self, episodes: Sequence[Episode]) -> list[list[str]]:
        """The most probable label where there is a label set for every episode, else generated text."""
        if all(episode.labels for episode in episodes):
            chosen = [probabilities.argmax(1).tolist() for probabilities in self.probabilities(episodes)]
            return [[episode.labels[index] for index in row] for episode, row in zip(episodes, chosen, strict=True)]
        parts = [self._generate(part) for part in _chunks([episode.query for episode in episodes])]
        return [list(chain.from_iterable(texts)) for texts in zip(*parts, strict=True)]

    @torch.no_grad()
    def _generate(self, groups: Sequence[Sequence[Example]]) -> list[list[str]]:
        width = level(groups)
        rows = [
            self.prompt.ids(group[index].input, self.max_tokens) if index < len(group) else []
            for group in groups
            for index in range(width)
        ]
        ids, mask = pad(rows, self._pad_id, left=True)
        settings = GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            pad_token_id=self._pad_id,
            eos_token_id=self.tokenizer.eos_token_id,
        )
        made = self.model.generate(
            input_ids=ids.to(self.device), attention_mask=mask.to(self.device), generation_config=settings
        )
        texts = [
            text.strip() for text in self.tokenizer.batch_decode(made[:, ids.shape[1] :], skip_special_tokens=True)
        ]
        return [texts[task * width : task * width + len(group)] for task, group in enumerate(groups)]


def _chunks(groups: Sequence[Sequence[Example]]) -> list[list[Sequence[Example]]]:
    """The rows of every task in parts of at most ROWS rows a task."""
    return [[group[start : start + ROWS] for group in groups] for start in range(0, max(1, level(groups)), ROWS)]
