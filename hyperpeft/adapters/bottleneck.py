"""Bottleneck adapters. Houlsby et al. 2019, arXiv:1902.00751; Pfeiffer et al. 2020, arXiv:2005.00247."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperpeft.adapters.base import AdapterKind, Call, Choice, Shapes, Target, per_task
from hyperpeft.config import ConfigError, did_you_mean

Placement = Literal["houlsby", "pfeiffer"]
Nonlinearity = Literal["relu", "gelu", "swish", "tanh"]
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "swish": functional.silu,
    "tanh": torch.tanh,
}
_LLAMA, _BERT, _NEOX = ("o_proj", "down_proj"), ("attention.output.dense", "output.dense"), "dense_4h_to_h"
SUBLAYER_OUTPUTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3"), _LLAMA),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "electra"), _BERT),
    **dict.fromkeys(("bloom", "falcon"), ("self_attention.dense", _NEOX)),
    **dict.fromkeys(("bart", "opt", "mbart", "m2m_100", "clip", "clip_vision_model"), ("out_proj", "fc2")),
    **dict.fromkeys(("t5", "mt5"), ("o", "wo")),
    **dict.fromkeys(("vit", "dinov2"), ("o_proj", "fc2")),
    "gpt2": ("attn.c_proj", "mlp.c_proj"),
    "gpt_neox": ("attention.dense", _NEOX),
    "distilbert": ("out_lin", "lin2"),
    "modernbert": ("attn.Wo", "mlp.Wo"),
    "mpnet": ("attn.o", "output.dense"),
}


@dataclass(frozen=True)
class Bottleneck(AdapterKind):
    """h + up(f(down(x))): a small network with its own residual, AdapterHub's conventions.

    `houlsby`: after the attention's and the feed-forward's output projection, x = h = its output, before the layer's
    residual is added. `pfeiffer`: once a layer, x = the layer's output; where a normalisation ends the layer (BERT),
    x is what it gives and h what it gets, and it is applied again to the sum.
    The width is int(d / reduction_factor), at least 1: 2 * width * d + width + d parameters a target.
    `targets`: ends of paths of linear modules instead of the placement's own (`houlsby` only).
    """

    kind: ClassVar[str] = "bottleneck"
    effect: ClassVar[tuple[str, ...]] = ("up", "up_bias")

    reduction_factor: float = 16.0
    placement: Placement = "houlsby"
    nonlinearity: Nonlinearity = "swish"
    targets: list[str] | None = None
    layers: list[int] | None = None

    def __post_init__(self) -> None:
        if self.reduction_factor <= 0:
            raise ValueError(f"adapter.reduction_factor is {self.reduction_factor}: it must be above 0.")
        if self.placement not in ("houlsby", "pfeiffer"):
            raise ConfigError(
                f"adapter.placement: there is no {self.placement!r}. "
                f"{did_you_mean(self.placement, ('houlsby', 'pfeiffer'))}"
            )
        if self.nonlinearity not in FUNCTIONS:
            raise ConfigError(
                f"adapter.nonlinearity: there is no {self.nonlinearity!r}. {did_you_mean(self.nonlinearity, FUNCTIONS)}"
            )
        if self.targets and self.placement == "pfeiffer":
            raise ConfigError("adapter.targets: placement 'pfeiffer' is at the end of each layer. Drop the targets.")

    @property
    def target_layers(self) -> list[int] | None:
        """As given."""
        return self.layers

    def choices(self, model_type: str) -> tuple[Choice, ...]:
        """The ends of layers, or the output projections of attention and feed-forward."""
        if self.placement == "pfeiffer":
            return (Choice("layer"),)
        names = self.targets or SUBLAYER_OUTPUTS.get(model_type)
        if not names:
            raise ConfigError(
                f"adapter.targets: kind 'bottleneck' knows no output projections of model type {model_type!r}. Name "
                "those of attention and feed-forward: adapter.targets=[out_proj, fc2], or use placement=pfeiffer."
            )
        return (Choice("linear", tuple(names)),)

    def shapes(self, target: Target) -> Shapes:
        """Down and up `[width, d]` (up transposed), down_bias `[1, width]`, up_bias `[1, d]`."""
        d = target.d_out
        width = max(1, int(d / self.reduction_factor))
        return {"down": (width, d), "down_bias": (1, width), "up": (width, d), "up_bias": (1, d)}

    def start(self, target: Target, generator: torch.Generator) -> dict[str, Tensor]:
        """Down normal with standard deviation 0.02 (AdapterHub's `bert` start); the rest zero."""
        tensors = {name: torch.zeros(shape) for name, shape in self.shapes(target).items()}
        return tensors | {"down": 0.02 * torch.randn(tensors["down"].shape, generator=generator)}

    def forward(self, call: Call, weights: Mapping[str, Tensor], *, train: bool) -> Any:
        """The frozen output plus the bottleneck; a normalisation is applied a second time."""
        y = call.run()
        if isinstance(y, tuple):
            return (y[0] + self.change(y[0], weights), *y[1:])
        if isinstance(call.module, nn.LayerNorm):
            return call.own(call.x + self.change(y, weights))
        return y + self.change(y, weights)

    def change(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """up(f(down(x))) for every task in two batched products."""
        down, up, a, b = (weights[name].to(x.dtype) for name in ("down", "up", "down_bias", "up_bias"))
        narrow = FUNCTIONS[self.nonlinearity](torch.baddbmm(a, per_task(x, len(down)), down.mT))
        return torch.baddbmm(b, narrow, up).reshape(x.shape)
