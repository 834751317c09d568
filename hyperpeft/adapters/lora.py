"""Low-rank adaptation. Hu et al. 2021, arXiv:2106.09685; rsLoRA: Kalajdzievski 2023, arXiv:2312.03732."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from hyperpeft.adapters.base import USUAL, AdapterKind, Call, Choice, Shapes, Target, per_task
from hyperpeft.adapters.copies import Copies, added, into


@dataclass(frozen=True)
class Lora(AdapterKind):
    """y + scale * B A x with scale = alpha / rank (rslora: alpha / sqrt(rank)).

    A is stored as `[rank, d_in]` and B transposed, as `[rank, d_out]`, so that the rank is the first axis of both:
    rank * (d_in + d_out) parameters a target.
    `targets`: ends of module paths, `["all-linear"]`, or None for the usual ones for the model type.
    `layers`: indices of the adapted layers, None for all; backward stops below the lowest one.
    `ranks`: other ranks for some targets, by the end of their path; the scale follows each target's own rank.
    """

    kind: ClassVar[str] = "lora"
    effect: ClassVar[tuple[str, ...]] = ("B",)
    product: ClassVar[tuple[str, ...]] = ("A", "B")

    rank: int = 8
    alpha: float = 16.0
    rslora: bool = False
    dropout: float = 0.0
    targets: list[str] | None = None
    layers: list[int] | None = None
    ranks: dict[str, int] | None = None

    def __post_init__(self) -> None:
        for rank in (self.rank, *(self.ranks or {}).values()):
            if rank < 1:
                raise ValueError(f"adapter.rank is {rank}: it must be at least 1.")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"adapter.dropout is {self.dropout}: it must be in [0, 1).")

    @property
    def scale(self) -> float:
        """The factor before B A x at targets of the rank `rank`."""
        return self.scale_for(self.rank)

    def scale_for(self, rank: int) -> float:
        """The factor before B A x at a target of this rank."""
        return self.alpha / (math.sqrt(rank) if self.rslora else rank)

    def rank_of(self, target: Target) -> int:
        """The rank at a target: the entry of `ranks` with the longest fitting name, else `rank`."""
        fitting = [name for name in self.ranks or {} if target.ends_in(name)]
        return (self.ranks or {})[max(fitting, key=len)] if fitting else self.rank

    @property
    def target_layers(self) -> list[int] | None:
        """As given."""
        return self.layers

    def choices(self, model_type: str) -> tuple[Choice, ...]:
        """As given, else the usual ones."""
        return (Choice("linear", tuple(self.targets or [USUAL])),)

    def shapes(self, target: Target) -> Shapes:
        """A `[rank, d_in]` and B `[rank, d_out]`."""
        rank = self.rank_of(target)
        return {"A": (rank, target.d_in), "B": (rank, target.d_out)}

    def start(self, target: Target, generator: torch.Generator) -> dict[str, Tensor]:
        """A uniform in +-1/sqrt(d_in) (PEFT's Kaiming uniform with a = sqrt 5), B zero."""
        bound, rank = 1 / math.sqrt(target.d_in), self.rank_of(target)
        A = torch.empty(rank, target.d_in).uniform_(-bound, bound, generator=generator)
        return {"A": A, "B": torch.zeros(rank, target.d_out)}

    def forward(self, call: Call, weights: Mapping[str, Tensor], *, train: bool) -> Tensor:
        """`apply` on the frozen module's input and output."""
        return self.apply(call.x, call.run(), weights, train=train)

    def apply(self, x: Tensor, y: Tensor, weights: Mapping[str, Tensor], *, train: bool) -> Tensor:
        """y + scale * (x A^T) B for every task in two batched products; A and B are never repeated per row."""
        if train and self.dropout:
            x = functional.dropout(x, self.dropout)
        if isinstance(weights, Copies):
            A, B, index = weights.originals["A"], weights.originals["B"], weights.index
            low = into(per_task(x, len(index)), A, index)
            return added(per_task(y, len(index)), low, B, index, self.scale_for(A.shape[1])).reshape(y.shape)
        A, B = weights["A"].to(x.dtype), weights["B"].to(x.dtype)
        tasks, rank = A.shape[:2]
        low = per_task(x, tasks) @ A.mT
        return torch.baddbmm(per_task(y, tasks), low, B, alpha=self.scale_for(rank)).reshape(y.shape)

    def joined_kind(self, kinds: list["Lora"]) -> "Lora":
        """Ranks added up, alpha = rank: B holds the scales. Raises ValueError for adapters with `ranks` per module."""
        if any(kind.ranks for kind in kinds):
            raise ValueError("LoRA adapters with `ranks` per module cannot be joined: their ranks do not add up alike.")
        rank = sum(kind.rank for kind in kinds)
        return replace(self, rank=rank, alpha=float(rank), rslora=False)

    def joined(self, kinds: list["Lora"], parts: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """A and B one below the other, each B times its own scale."""
        Bs = [kind.scale * part["B"] for kind, part in zip(kinds, parts, strict=True)]
        return {"A": torch.cat([part["A"] for part in parts], dim=1), "B": torch.cat(Bs, dim=1)}
