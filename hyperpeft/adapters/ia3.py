"""Rescaled activations. (IA)^3: Liu et al. 2022, arXiv:2205.05638."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from peft.utils.constants import (
    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as PEFT_FEEDFORWARD,
)
from peft.utils.constants import (
    TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as PEFT_TARGETS,
)
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hyperpeft.adapters.base import AdapterKind, Call, Choice, Shapes, Target, over_rows
from hyperpeft.config import ConfigError

FEEDFORWARD = tuple(sorted({name for names in PEFT_FEEDFORWARD.values() for name in names}))
# of model types that PEFT's table lacks, or for which it names modules that transformers 5 no longer has
OWN_TARGETS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("clip", "clip_vision_model", "dinov2", "vit", "m2m_100", "mbart"), ("k_proj", "v_proj", "fc2")),
    **dict.fromkeys(("mixtral", "qwen2_moe", "qwen3_moe"), ("k_proj", "v_proj")),
    "distilbert": ("k_lin", "v_lin", "lin2"),
    "modernbert": ("Wqkv", "mlp.Wo"),
    "mpnet": ("k", "v", "output.dense"),
    "phi3": ("qkv_proj", "down_proj"),
}
OWN_FEEDFORWARD = ("lin2", "mlp.Wo")


@dataclass(frozen=True)
class Ia3(AdapterKind):
    """(1 + l_out) * y at keys and values, frozen(( 1 + l_in) * x) at feed-forward outputs; both zero at the start.

    PEFT stores 1 + l. d_out parameters a target, d_in at a feed-forward one.
    `targets`: ends of module paths; None takes PEFT's choice for the model type,
    keys and values alone for mixtures of experts. `feedforward`: those of them that
    are scaled at their input; None takes the names that PEFT knows as feed-forward outputs.
    """

    kind: ClassVar[str] = "ia3"
    effect: ClassVar[tuple[str, ...]] = ("l_in", "l_out")

    targets: list[str] | None = None
    feedforward: list[str] | None = None
    layers: list[int] | None = None

    @property
    def target_layers(self) -> list[int] | None:
        """As given."""
        return self.layers

    def choices(self, model_type: str) -> tuple[Choice, ...]:
        """As given, else PEFT's for the model type."""
        names = self.targets or OWN_TARGETS.get(model_type) or PEFT_TARGETS.get(model_type)
        if not names:
            raise ConfigError(
                f"adapter.targets: kind 'ia3' has no default for model type {model_type!r}. Name the projections of "
                "keys and values and the feed-forward output: adapter.targets=[k, v, wo] adapter.feedforward=[wo]."
            )
        return (Choice("linear", tuple(names)),)

    def _at_input(self, target: Target) -> bool:
        names = (*FEEDFORWARD, *OWN_FEEDFORWARD) if self.feedforward is None else self.feedforward
        return any(target.ends_in(name) for name in names)

    def shapes(self, target: Target) -> Shapes:
        """l_in `[1, d_in]` at a feed-forward output, l_out `[1, d_out]` elsewhere."""
        return {"l_in": (1, target.d_in)} if self._at_input(target) else {"l_out": (1, target.d_out)}

    def start(self, target: Target, generator: torch.Generator) -> dict[str, Tensor]:
        """Zeros."""
        return {name: torch.zeros(shape) for name, shape in self.shapes(target).items()}

    def forward(self, call: Call, weights: Mapping[str, Tensor], *, train: bool) -> Tensor:
        """Scaled before or after the frozen module; what is scaled after it is computed again in backward, not kept.

        Keys and values have one input, which is kept once for both: 1.25 of the frozen step's memory for 1.32.
        """
        if "l_in" in weights:
            return call.own(call.x * over_rows(1 + weights["l_in"], call.x), *call.args[1:], **call.kwargs)

        def scaled(x: Tensor, l_out: Tensor) -> Tensor:
            y = call.own(x, *call.args[1:], **call.kwargs)
            return y * over_rows(1 + l_out, y)

        if not torch.is_grad_enabled():
            return scaled(call.x, weights["l_out"])
        return checkpoint(scaled, call.x, weights["l_out"], use_reentrant=False, preserve_rng_state=False)
