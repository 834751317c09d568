"""Weight-decomposed low-rank adaptation. Liu et al. 2024, arXiv:2402.09353."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import einsum, rearrange
from torch import Tensor

from hyperpeft.adapters.base import USUAL, AdapterKind, Call, Choice, Shapes, Target, frozen_weight, over_rows, per_task


@dataclass(frozen=True)
class Dora(AdapterKind):
    """m * (W + scale * B A) x / ||W + scale * B A|| + bias, norms over each output's row of the weight.

    The magnitude is m = ||W|| * (1 + magnitude), so that zeros change nothing; the norm below is no part of the graph
    (section 4.3 of the paper, as in PEFT). rank * (d_in + d_out) + d_out parameters a target. Settings as for `lora`.
    """

    kind: ClassVar[str] = "dora"
    effect: ClassVar[tuple[str, ...]] = ("B", "magnitude")
    product: ClassVar[tuple[str, ...]] = ("A", "B")

    rank: int = 8
    alpha: float = 16.0
    rslora: bool = False
    targets: list[str] | None = None
    layers: list[int] | None = None

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"adapter.rank is {self.rank}: it must be at least 1.")

    @property
    def scale(self) -> float:
        """The factor before B A x."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @property
    def target_layers(self) -> list[int] | None:
        """As given."""
        return self.layers

    def choices(self, model_type: str) -> tuple[Choice, ...]:
        """As given, else the usual ones."""
        return (Choice("linear", tuple(self.targets or [USUAL])),)

    def shapes(self, target: Target) -> Shapes:
        """A `[rank, d_in]`, B `[rank, d_out]`, magnitude `[1, d_out]`: relative to the frozen weight's norms."""
        return {"A": (self.rank, target.d_in), "B": (self.rank, target.d_out), "magnitude": (1, target.d_out)}

    def start(self, target: Target, generator: torch.Generator) -> dict[str, Tensor]:
        """A as for LoRA; B and the relative magnitude zero."""
        bound = 1 / math.sqrt(target.d_in)
        A = torch.empty(self.rank, target.d_in).uniform_(-bound, bound, generator=generator)
        return {"A": A, "B": torch.zeros(self.rank, target.d_out), "magnitude": torch.zeros(1, target.d_out)}

    def forward(self, call: Call, weights: Mapping[str, Tensor], *, train: bool) -> Tensor:
        """The frozen output, its weight part rescaled per output, plus the rescaled low-rank part."""
        y: Tensor = call.run()
        A, B, tasks = weights["A"].to(y.dtype), weights["B"].to(y.dtype), weights["A"].shape[0]
        low = (per_task(call.x, tasks) @ A.mT @ B).reshape(y.shape)
        factor = over_rows((1 + weights["magnitude"]) * self.shrink(call.module, weights), y)
        plain = y if call.module.bias is None else y - call.module.bias
        return y + (factor - 1) * plain + factor * self.scale * low

    @torch.no_grad()
    def shrink(self, module: torch.nn.Module, weights: Mapping[str, Tensor]) -> Tensor:
        """||W|| / ||W + scale * B A|| of each output, `[task 1 d_out]`, without ever forming B A."""
        W, A, B = frozen_weight(module).float(), weights["A"].float(), weights["B"].float()
        bare = W.square().sum(1)
        cross = einsum(B, einsum(A, W, "task r i, o i -> task r o"), "task r o, task r o -> task o")
        square = einsum(B, A @ A.mT, B, "task r o, task r s, task s o -> task o")
        whole = (bare + 2 * self.scale * cross + self.scale**2 * square).clamp(min=1e-12)
        return rearrange(bare.clamp(min=1e-12).sqrt() / whole.sqrt(), "task o -> task 1 o")
