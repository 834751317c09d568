"""Biases alone. BitFit: Ben Zaken et al. 2021, arXiv:2106.10199."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hyperpeft.adapters.base import ALL, AdapterKind, Call, Choice, Shapes, Target, over_rows


@dataclass(frozen=True)
class Bias(AdapterKind):
    """y + bias: a change of each linear-like module's bias, also where it has none. d_out parameters a target.

    The biases of normalisations, which the paper trains too, stay as they are.
    `targets`: ends of module paths; None takes every linear-like module.
    """

    kind: ClassVar[str] = "bias"
    effect: ClassVar[tuple[str, ...]] = ("bias",)

    targets: list[str] | None = None
    layers: list[int] | None = None

    @property
    def target_layers(self) -> list[int] | None:
        """As given."""
        return self.layers

    def choices(self, model_type: str) -> tuple[Choice, ...]:
        """As given, else every linear-like module."""
        return (Choice("linear", tuple(self.targets or [ALL])),)

    def shapes(self, target: Target) -> Shapes:
        """Bias `[1, d_out]`."""
        return {"bias": (1, target.d_out)}

    def start(self, target: Target, generator: torch.Generator) -> dict[str, Tensor]:
        """Zeros."""
        return {"bias": torch.zeros(1, target.d_out)}

    def forward(self, call: Call, weights: Mapping[str, Tensor], *, train: bool) -> Tensor:
        """The frozen output plus the task's bias."""
        y: Tensor = call.run()
        return y + over_rows(weights["bias"], y)
