"""A sparse change of the weight at fixed places. SHiRA: Bhardwaj et al. 2024, arXiv:2406.13175."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from hyperpeft.adapters.base import USUAL, AdapterKind, Call, Choice, Shapes, Target, per_task


@lru_cache(maxsize=256)
def places(d_out: int, d_in: int, count: int, seed: int) -> Tensor:
    """Indices of the changed entries in the flattened `[d_out d_in]` weight, ascending: PEFT's `random_mask`."""
    drawn = torch.randperm(d_out * d_in, generator=torch.Generator().manual_seed(seed))
    return drawn[:count].sort().values


@dataclass(frozen=True)
class Sparse(AdapterKind):
    """(W + S) x, S zero but at rank * (d_in + d_out) places drawn once by the seed: as many parameters as LoRA has.

    The places and the order of the values (row by row) are those of PEFT's SHiRA with `random_seed=seed`. In a forward
    S is laid out densely per task and target, `[task d_out d_in]`: right for few tasks at a time.
    `targets`: ends of module paths; None takes the usual ones for the model type.
    """

    kind: ClassVar[str] = "sparse"
    effect: ClassVar[tuple[str, ...]] = ("values",)
    copy_cost: ClassVar[float] = 4.0

    rank: int = 8
    seed: int = 0
    targets: list[str] | None = None
    layers: list[int] | None = None

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"adapter.rank is {self.rank}: it must be at least 1.")

    @property
    def target_layers(self) -> list[int] | None:
        """As given."""
        return self.layers

    def choices(self, model_type: str) -> tuple[Choice, ...]:
        """As given, else the usual ones."""
        return (Choice("linear", tuple(self.targets or [USUAL])),)

    def shapes(self, target: Target) -> Shapes:
        """Values `[rank, d_in + d_out]`; flattened they are in the order of `places`.

        Raises ValueError if the weight has fewer entries.
        """
        if self.rank * (target.d_in + target.d_out) > target.d_in * target.d_out:
            raise ValueError(
                f"adapter.rank is {self.rank}: that is {self.rank * (target.d_in + target.d_out)} places, but the "
                f"weight of {target.path} has {target.d_in * target.d_out} entries. Choose a lower rank."
            )
        return {"values": (self.rank, target.d_in + target.d_out)}

    def start(self, target: Target, generator: torch.Generator) -> dict[str, Tensor]:
        """Zeros."""
        return {name: torch.zeros(shape) for name, shape in self.shapes(target).items()}

    def forward(self, call: Call, weights: Mapping[str, Tensor], *, train: bool) -> Tensor:
        """y + S x for every task in one batched product."""
        y: Tensor = call.run()
        S = self.dense(weights["values"].to(y.dtype), y.shape[-1], call.x.shape[-1])
        tasks = S.shape[0]
        return torch.baddbmm(per_task(y, tasks), per_task(call.x, tasks), S.mT).reshape(y.shape)

    def dense(self, values: Tensor, d_out: int, d_in: int) -> Tensor:
        """S of each task, `[task d_out d_in]`. Raises ValueError for values of another size."""
        flat = values.flatten(1)
        if flat.shape[1] != self.rank * (d_in + d_out):
            raise ValueError(f"{flat.shape[1]} values do not fit {self.rank * (d_in + d_out)} places of the weight.")
        index = places(d_out, d_in, flat.shape[1], self.seed).to(values.device)
        return flat.new_zeros(len(values), d_out * d_in).index_copy(1, index, flat).reshape(-1, d_out, d_in)
