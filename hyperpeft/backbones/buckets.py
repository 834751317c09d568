"""Short texts of several tasks as padded tensors: one forward of an encoder for all, little of it padding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor

from hyperpeft.backbones.tokens import pad

BUCKET_ROWS = 4


@dataclass(frozen=True)
class Buckets:
    """A text a row, in a few padded rectangles of similar length.

    parts: (ids, mask), each `[(task row) token]`. place: `[task text]`, where a text stands after joining the parts.
    """

    parts: tuple[tuple[Tensor, Tensor], ...]
    place: Tensor

    def to(self, device: torch.device) -> "Buckets":
        """On another device."""
        return Buckets(tuple((ids.to(device), mask.to(device)) for ids, mask in self.parts), self.place.to(device))

    @property
    def padding(self) -> float:
        """Share of padding."""
        return 1 - sum(int(mask.sum()) for _, mask in self.parts) / sum(mask.numel() for _, mask in self.parts)

    def features(self, model: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """`[task text d]` from a function of a part's (ids, mask) to its features `[row d]`."""
        pooled = [model(ids, mask) for ids, mask in self.parts]
        tasks = self.place.shape[0]
        rows = torch.cat([rearrange(part, "(task row) d -> task row d", task=tasks) for part in pooled], dim=1)
        return rows.gather(1, repeat(self.place, "task text -> task text d", d=rows.shape[-1]))


def bucket(groups: Sequence[Sequence[Sequence[int]]], pad_id: int) -> Buckets:
    """Each task's texts sorted by length; the longest BUCKET_ROWS of every task make the first rectangle, and so on.

    Widths are multiples of 8: few distinct shapes, since CPU kernels are compiled anew for each.
    """
    orders = [_longest_first(group) for group in groups]
    parts = []
    for start in range(0, len(orders[0]), BUCKET_ROWS):
        chosen = [order[start : start + BUCKET_ROWS] for order in orders]
        rows = [group[row] for group, part in zip(groups, chosen, strict=True) for row in part]
        parts.append(pad(rows, pad_id, multiple=8))
    return Buckets(tuple(parts), torch.tensor(orders).argsort(dim=1))


def _longest_first(group: Sequence[Sequence[int]]) -> list[int]:
    return sorted(range(len(group)), key=lambda row: -len(group[row]))
