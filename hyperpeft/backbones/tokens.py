"""Texts as token ids: each text tokenised once, rows padded into tensors grouped by task."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor
from transformers import PreTrainedTokenizerBase

BUCKET_ROWS = 4
log = logging.getLogger(__name__)


class Tokens:
    """Token ids of texts, remembered. Longer texts are cut at `max_tokens` with a warning that names their length."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int, *, special: bool = True):
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.special = special
        self._ids: dict[str, list[int]] = {}

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text."""
        new = sorted({text for text in texts if text not in self._ids})
        if new:
            encoded = self.tokenizer(new, add_special_tokens=self.special, verbose=False)["input_ids"]
            self._ids.update({text: self._cut(ids) for text, ids in zip(new, encoded, strict=True)})
        return [self._ids[text] for text in texts]

    def _cut(self, ids: list[int]) -> list[int]:
        if len(ids) <= self.max_tokens:
            return ids
        log.warning("a text of %d tokens is cut to its first %d (max_tokens)", len(ids), self.max_tokens)
        ends = [ids[-1]] if self.special and ids[-1] in self.tokenizer.all_special_ids else []
        return ids[: self.max_tokens - len(ends)] + ends


def pad(
    rows: Sequence[Sequence[int]], value: int, *, left: bool = False, multiple: int = 1
) -> tuple[Tensor, Tensor]:
    """`[row token]` ids and mask. An empty row keeps one visible token, so that attention stays defined."""
    width = max(1, -(-max(map(len, rows)) // multiple) * multiple)
    ids = torch.full((len(rows), width), value)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for row, tokens in enumerate(rows):
        span = slice(width - max(1, len(tokens)), width) if left else slice(0, max(1, len(tokens)))
        mask[row, span] = 1
        if tokens:
            ids[row, span] = torch.tensor(tokens)
    return ids, mask


def level(groups: Sequence[Sequence[object]]) -> int:
    """The number of rows a task that holds every group."""
    return max(map(len, groups))


@dataclass(frozen=True)
class Buckets:
    """Rows of several tasks in a few padded rectangles of similar length, so that little of them is padding.

    parts: (ids, mask), each `[(task row) token]`. place: `[task row]`, where a row stands after the parts are joined.
    """

    parts: tuple[tuple[Tensor, Tensor], ...]
    place: Tensor

    def to(self, device: torch.device) -> "Buckets":
        """On another device."""
        parts = tuple((ids.to(device), mask.to(device)) for ids, mask in self.parts)
        return Buckets(parts, self.place.to(device))

    def join(self, features: Sequence[Tensor]) -> Tensor:
        """`[task row d]` in the original order, from the features `[(task row) d]` of each part."""
        tasks = self.place.shape[0]
        sorted_rows = torch.cat([rearrange(part, "(task row) d -> task row d", task=tasks) for part in features], dim=1)
        return sorted_rows.gather(1, repeat(self.place, "task row -> task row d", d=sorted_rows.shape[-1]))


def bucket(groups: Sequence[Sequence[Sequence[int]]], value: int) -> Buckets:
    """Buckets of token rows, one group a task, as many rows each.

    Each task's rows are sorted by length; the longest BUCKET_ROWS of every task make the first rectangle, and so on.
    Widths are multiples of 8: few distinct shapes, since CPU kernels are compiled anew for each.
    """
    orders = [sorted(range(len(group)), key=lambda row, group=group: -len(group[row])) for group in groups]  # type: ignore[misc]
    rows = len(orders[0])
    parts = [
        pad(
            [g[row] for g, order in zip(groups, orders, strict=True) for row in order[start : start + BUCKET_ROWS]],
            value,
            multiple=8,
        )
        for start in range(0, rows, BUCKET_ROWS)
    ]
    return Buckets(tuple(parts), torch.tensor(orders).argsort(dim=1))
