"""Short texts of several tasks as a few padded tensors, little of it padding, whichever task a text is of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from hyperpeft.backbones.tokens import pad

MULTIPLE = 8
BUCKET_COST = 48
"""Tokens that could be computed in the time that one more bucket takes by itself (MiniLM, one thread)."""


@dataclass(frozen=True)
class Bucket:
    """Texts of about one length: ids and mask `[row token]`, and the index of each row's task."""

    ids: Tensor
    mask: Tensor
    tasks: tuple[int, ...]


@dataclass(frozen=True)
class Buckets:
    """A text a row. place: `[task text]`, the row of a text after joining the parts; one beyond the last for none."""

    parts: tuple[Bucket, ...]
    place: Tensor

    def to(self, device: torch.device) -> "Buckets":
        """On another device."""
        parts = tuple(replace(part, ids=part.ids.to(device), mask=part.mask.to(device)) for part in self.parts)
        return Buckets(parts, self.place.to(device))

    @property
    def padding(self) -> float:
        """Share of padding."""
        return 1 - sum(int(part.mask.sum()) for part in self.parts) / sum(part.mask.numel() for part in self.parts)

    def joined(self, features: Sequence[Tensor]) -> Tensor:
        """`[task text d]` from the features of each part, `[row d]`; zeros where a task has no text."""
        rows = functional.pad(torch.cat(list(features)), (0, 0, 0, 1))
        chosen = rows.index_select(0, self.place.flatten())
        return rearrange(chosen, "(task text) d -> task text d", task=self.place.shape[0])


def bucket(groups: Sequence[Sequence[Sequence[int]]], width: int, pad_id: int) -> Buckets:
    """The texts of all tasks by length, cut into buckets where that costs least, padding and BUCKET_COST together.

    `width`: texts of the task that has the most, at least. Lengths are multiples of 8: few distinct shapes, since CPU
    kernels are compiled anew for each.
    """
    texts = [(task, text) for task, group in enumerate(groups) for text in range(len(group))]
    texts.sort(key=lambda where: -len(groups[where[0]][where[1]]))
    parts = []
    for start, stop in pairwise(_cuts([_rounded(len(groups[task][text])) for task, text in texts])):
        ids, mask = pad([groups[task][text] for task, text in texts[start:stop]], pad_id, multiple=MULTIPLE)
        parts.append(Bucket(ids, mask, tuple(task for task, _ in texts[start:stop])))
    place = torch.full((len(groups), width), len(texts))
    for row, (task, text) in enumerate(texts):
        place[task, text] = row
    return Buckets(tuple(parts), place)


def _rounded(length: int) -> int:
    return max(1, -(-length // MULTIPLE)) * MULTIPLE


def _cuts(lengths: Sequence[int]) -> list[int]:
    """Where to cut descending lengths into parts so that the sum of rows x longest + BUCKET_COST is least."""
    ends = [0, *(i for i in range(1, len(lengths)) if lengths[i] != lengths[i - 1]), len(lengths)]
    best: list[tuple[int, list[int]]] = [(0, [0])]
    for end in ends[1:]:
        costs = [
            (best[i][0] + (end - start) * lengths[start] + BUCKET_COST, [*best[i][1], end])
            for i, start in enumerate(ends[: len(best)])
        ]
        best.append(min(costs))
    return best[-1][1]
