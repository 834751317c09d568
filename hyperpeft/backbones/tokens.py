"""Texts as token ids: each text tokenised once, rows padded into tensors grouped by task."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


class Tokens:
    """Token ids of texts, remembered. Longer texts are cut at `max_tokens` with a warning that names their length."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int, *, special: bool = True):
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.special = special
        self._ids: dict[str, list[int]] = {}
        self._longest = 0

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text."""
        new = sorted({text for text in texts if text not in self._ids})
        if new:
            encoded = self.tokenizer(new, add_special_tokens=self.special, verbose=False)["input_ids"]
            self._warn([len(ids) for ids in encoded if len(ids) > self.max_tokens])
            self._ids.update({text: self._cut(ids) for text, ids in zip(new, encoded, strict=True)})
        return [self._ids[text] for text in texts]

    def _warn(self, lengths: list[int]) -> None:
        """One line for all texts that are too long, and none again until there is a longer one."""
        if lengths and max(lengths) > self._longest:
            self._longest = max(lengths)
            what = (
                "%d text(s) of up to %d tokens are cut to the first %d (max_tokens); shorter ones silently from now on"
            )
            log.warning(what, len(lengths), self._longest, self.max_tokens)

    def _cut(self, ids: list[int]) -> list[int]:
        if len(ids) <= self.max_tokens:
            return ids
        ends = [ids[-1]] if self.special and ids[-1] in self.tokenizer.all_special_ids else []
        return ids[: self.max_tokens - len(ends)] + ends


def pad(rows: Sequence[Sequence[int]], value: int, *, left: bool = False, multiple: int = 1) -> tuple[Tensor, Tensor]:
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
