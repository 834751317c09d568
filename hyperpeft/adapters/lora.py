"""Low-rank adaptation. Hu et al. 2021, arXiv:2106.09685; rsLoRA: Kalajdzievski 2023, arXiv:2312.03732."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from hyperpeft.adapters.base import AdapterKind, Shapes, Target


@dataclass(frozen=True)
class Lora(AdapterKind):
    """y + scale * B A x with scale = alpha / rank (rslora: alpha / sqrt(rank)).

    A is stored as `[rank, d_in]` and B transposed, as `[rank, d_out]`, so that the rank is the first axis of both.
    `targets`: names (last parts of module paths), `["all-linear"]`, or None for PEFT's choice for the model type.
    `layers`: indices of the adapted layers, None for all; backward stops below the lowest one.
    """

    kind: ClassVar[str] = "lora"

    rank: int = 8
    alpha: float = 16.0
    rslora: bool = False
    dropout: float = 0.0
    targets: list[str] | None = None
    layers: list[int] | None = None

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"adapter.rank is {self.rank}: it must be at least 1.")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"adapter.dropout is {self.dropout}: it must be in [0, 1).")

    @property
    def scale(self) -> float:
        """The factor before B A x."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @property
    def target_names(self) -> list[str] | None:
        """As given."""
        return self.targets

    @property
    def target_layers(self) -> list[int] | None:
        """As given."""
        return self.layers

    def shapes(self, target: Target) -> Shapes:
        """A `[rank, d_in]` and B `[rank, d_out]`."""
        return {"A": (self.rank, target.d_in), "B": (self.rank, target.d_out)}

    def start(self, target: Target, generator: torch.Generator) -> dict[str, Tensor]:
        """A uniform in +-1/sqrt(d_in) (PEFT's Kaiming uniform with a = sqrt 5), B zero."""
        bound = 1 / math.sqrt(target.d_in)
        A = torch.empty(self.rank, target.d_in).uniform_(-bound, bound, generator=generator)
        return {"A": A, "B": torch.zeros(self.rank, target.d_out)}

    def apply(self, x: Tensor, y: Tensor, weights: Mapping[str, Tensor], *, train: bool) -> Tensor:
        """y + scale * (x A^T) B for every task in two batched products; A and B are never repeated per row."""
        A, B = weights["A"].to(x.dtype), weights["B"].to(x.dtype)
        tasks = A.shape[0]
        if train and self.dropout:
            x = functional.dropout(x, self.dropout)
        low = x.reshape(tasks, -1, x.shape[-1]) @ A.mT
        return torch.baddbmm(y.reshape(tasks, -1, y.shape[-1]), low, B, alpha=self.scale).reshape(y.shape)
