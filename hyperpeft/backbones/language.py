"""Language models as backbones, whatever their architecture: labels are scored, text is generated."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig

from hyperpeft.backbones.base import Backbone, Scores
from hyperpeft.backbones.tokens import pad
from hyperpeft.tasks import Episode, Example

log = logging.getLogger(__name__)
IGNORED = -100
ROWS = 256


@dataclass(frozen=True)
class TokenBatch:
    """What the model reads, `[(task row) token]`, and what it should say: -100 where nothing is scored.

    tasks: how many.
    """

    ids: Tensor
    mask: Tensor
    targets: Tensor
    tasks: int


Batch = TypeVar("Batch", bound=TokenBatch)
Groups = Sequence[Sequence[Example]]


class LanguageModel(Backbone[Batch]):
    """A frozen model that continues or answers text. It reads the input, never the description.

    With a label set, the label whose tokens (and end of sequence) have the highest mean log-probability is predicted;
    without, text is generated greedily up to `max_new_tokens`.
    """

    max_new_tokens: int

    @abstractmethod
    def batch(self, groups: Groups) -> Batch:
        """The examples of each task as scored rows; tasks with fewer get rows without a target."""

    @abstractmethod
    def answer_logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits `[(task row) token word]` in fp32 and their targets `[(task row) token]`."""

    @abstractmethod
    def prompt_ids(self, text: str) -> list[int]:
        """Token ids of what the model reads before it generates."""

    @abstractmethod
    def generated(self, ids: Tensor, mask: Tensor, settings: GenerationConfig) -> Tensor:
        """New tokens only, `[(task row) token]`."""

    @abstractmethod
    def pad_prompts(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Ids and mask, padded on the side where this model's prompts are padded."""

    def readout_defaults(self) -> dict[str, float]:
        """None: the language model's own head is the read-out."""
        return {}

    def check(self, episode: Episode) -> None:
        """Every task will do: with a label set or without."""

    def support_batch(self, episodes: Sequence[Episode]) -> Batch:
        """The support as prompt and answer."""
        return self.batch([episode.support for episode in episodes])

    def query_batch(self, episodes: Sequence[Episode]) -> Batch:
        """The query as prompt and answer; the support is not in the prompt."""
        return self.batch([episode.query for episode in episodes])

    @property
    def pad_id(self) -> int:
        """The padding token, or where there is none another that the mask hides."""
        known = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(token for token in known if token is not None)

    @property
    def ends(self) -> list[int]:
        """Tokens that end an answer: the tokenizer's end of sequence and the model's own (end of turn)."""
        own = self.model.generation_config.eos_token_id
        listed = own if isinstance(own, list) else [own]
        return sorted({token for token in (*listed, self.tokenizer.eos_token_id) if token is not None})

    def cut_answer(self, ids: list[int], most: int) -> list[int]:
        """The answer's first `most` tokens, with a warning where it is longer."""
        if len(ids) > most:
            log.warning("an output of %d tokens is cut to %d (half of max_tokens)", len(ids), most)
        return ids[:most]

    def score(self, batch: Batch) -> Scores:
        """Mean over a task's rows of the mean negative log-likelihood of the answer's tokens."""
        score, right, tokens = self._log_likelihood(batch)
        rows = rearrange(-score / tokens.clamp(min=1), "(task row) -> task row", task=batch.tasks)
        real = rearrange(tokens > 0, "(task row) -> task row", task=batch.tasks)
        whole = rearrange(right == tokens, "(task row) -> task row", task=batch.tasks) & real
        return Scores((rows * real).sum(1) / real.sum(1), whole.sum(1) / real.sum(1))

    def _log_likelihood(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Of each row's answer: summed log-likelihood, number of tokens predicted right, number of tokens."""
        logits, targets = self.answer_logits(batch)
        losses = functional.cross_entropy(
            rearrange(logits, "row token word -> (row token) word"),
            targets.flatten(),
            ignore_index=IGNORED,
            reduction="none",
        )
        right = (logits.argmax(-1) == targets).sum(1)
        return -losses.view_as(targets).sum(1), right, (targets != IGNORED).sum(1)

    @torch.no_grad()
    def probabilities(self, episodes: Sequence[Episode]) -> list[Tensor]:
        """Softmax over labels of the mean log-probability of their tokens, `[query label]`."""
        groups = [[Example(e.input, label) for e in episode.query for label in episode.labels] for episode in episodes]
        found: list[list[float]] = [[0.0] * len(group) for group in groups]
        for part in chunks([[len(e.input) + len(e.output) for e in group] for group in groups]):
            for task, (indices, values) in enumerate(zip(part, self._means(groups, part), strict=True)):
                for index, value in zip(indices, values, strict=False):
                    found[task][index] = value
        return [
            rearrange(torch.tensor(row), "(query label) -> query label", label=len(episode.labels)).softmax(-1)
            for episode, row in zip(episodes, found, strict=True)
        ]

    def _means(self, groups: Groups, part: Sequence[Sequence[int]]) -> list[list[float]]:
        chosen = [[group[index] for index in indices] for group, indices in zip(groups, part, strict=True)]
        score, _, tokens = self._log_likelihood(self.batch(chosen))
        means: list[list[float]] = rearrange(
            score / tokens.clamp(min=1), "(task row) -> task row", task=len(groups)
        ).tolist()
        return means

    def predict(self, episodes: Sequence[Episode]) -> list[list[str]]:
        """The most probable label where there is a label set for every episode, else generated text."""
        if all(episode.labels for episode in episodes):
            chosen = [probabilities.argmax(1).tolist() for probabilities in self.probabilities(episodes)]
            return [[episode.labels[index] for index in row] for episode, row in zip(episodes, chosen, strict=True)]
        prompts = [[self.prompt_ids(example.input) for example in episode.query] for episode in episodes]
        found = [[""] * len(group) for group in prompts]
        for part in chunks([[len(ids) for ids in group] for group in prompts]):
            for task, (indices, texts) in enumerate(zip(part, self._generate(prompts, part), strict=True)):
                for index, text in zip(indices, texts, strict=False):
                    found[task][index] = text
        return found

    @torch.no_grad()
    def _generate(self, prompts: Sequence[Sequence[list[int]]], part: Sequence[Sequence[int]]) -> list[list[str]]:
        """Greedy answers to some prompts of each task. It stops when every row has ended.

        A task with fewer prompts gets copies of one, which end when the original does.
        """
        width = max(map(len, part))
        spare = next(group[0] for group in prompts if group)
        rows: list[list[int]] = []
        for group, indices in zip(prompts, part, strict=True):
            chosen = [group[index] for index in indices]
            rows += chosen + [chosen[-1] if chosen else spare] * (width - len(chosen))
        ids, mask = self.pad_prompts(rows)
        made = self.generated(ids.to(self.device), mask.to(self.device), self._greedy())
        texts = [text.strip() for text in self.tokenizer.batch_decode(made, skip_special_tokens=True)]
        return [texts[task * width : (task + 1) * width] for task in range(len(part))]

    def _greedy(self) -> GenerationConfig:
        own = self.model.generation_config
        starts: dict[str, Any] = {
            name: value
            for name, value in own.to_diff_dict().items()
            if name in ("decoder_start_token_id", "forced_bos_token_id")
        }
        return GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=self.pad_id,
            eos_token_id=self.ends,
            **starts,
        )


def chunks(lengths: Sequence[Sequence[int]]) -> list[list[list[int]]]:
    """Indices of the rows of each task in parts of at most ROWS rows in all, long rows with long ones."""
    rows = max(1, ROWS // len(lengths))
    orders = [sorted(range(len(group)), key=lambda row: -group[row]) for group in lengths]
    return [[order[start : start + rows] for order in orders] for start in range(0, max(map(len, orders)), rows)]


def pad_targets(rows: Sequence[Sequence[int]], *, left: bool) -> Tensor:
    """`[row token]`, -100 where nothing is scored."""
    return pad(rows, IGNORED, left=left)[0]
