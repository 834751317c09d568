"""Prefix tuning: more keys and values in every layer. Li and Liang 2021, arXiv:2101.00190."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hyperpeft.adapters.attention import Attention, Result, attend, gated, heads, widened
from hyperpeft.adapters.base import AdapterKind, Call, Choice, Shapes, Target


@dataclass(frozen=True)
class Prefix(AdapterKind):
    """More keys K and values V for every attention module, seen by all tokens and no text themselves.

    They are attended to apart and let in through a gate a layer, zero at first, so that the backbone starts unchanged
    (`attention.gated`). `gated=False` is plain prefix tuning, one softmax over [K; keys]: PEFT's PREFIX_TUNING but for
    positions (the text keeps its own here). It does not start unchanged.
    2 * tokens * d_kv + 1 parameters a layer. K is used as it is, without rotation or normalisation, as in PEFT.
    """

    kind: ClassVar[str] = "prefix"
    effect: ClassVar[tuple[str, ...]] = ("gate",)

    tokens: int = 8
    gated: bool = True
    std: float = 0.02
    layers: list[int] | None = None

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"adapter.tokens is {self.tokens}: it must be at least 1.")

    @property
    def target_layers(self) -> list[int] | None:
        """As given."""
        return self.layers

    def choices(self, model_type: str) -> tuple[Choice, ...]:
        """Every attention module."""
        return (Choice("attention"),)

    def shapes(self, target: Target) -> Shapes:
        """K and V `[tokens, d_kv]`, the gate `[1, 1]`."""
        gate: Shapes = {"gate": (1, 1)} if self.gated else {}
        return {"K": (self.tokens, target.d_in), "V": (self.tokens, target.d_out), **gate}

    def start(self, target: Target, generator: torch.Generator) -> dict[str, Tensor]:
        """K and V normal; the gate closed."""
        tensors = {name: self.std * torch.randn(shape, generator=generator) for name, shape in self._kv(target).items()}
        return {**tensors, "gate": torch.zeros(1, 1)} if self.gated else tensors

    def _kv(self, target: Target) -> Shapes:
        return {name: shape for name, shape in self.shapes(target).items() if name != "gate"}

    def forward(self, call: Call, weights: Mapping[str, Tensor], *, train: bool) -> Any:
        """The frozen module, its attention with the prefix."""
        return attend(call, partial(_attention, weights))


def _attention(
    weights: Mapping[str, Tensor],
    original: Attention,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    **settings: Any,
) -> Result:
    rows, d_head = query.shape[0], key.shape[-1]
    K, V = (heads(weights[name].to(query.dtype), rows, d_head) for name in ("K", "V"))
    if "gate" not in weights:
        return widened(original, module, query, (K, key), (V, value), mask, **settings)
    plain, probabilities = original(module, query, key, value, mask, **settings)
    return plain + gated(weights["gate"], query, K, V, settings), probabilities
