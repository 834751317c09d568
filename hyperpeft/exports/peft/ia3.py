"""(IA)^3 for PEFT."""

from peft import IA3Config
from torch import Tensor

from hyperpeft.exports.base import Exported, plain
from hyperpeft.exports.peft.base import common_settings, is_transposed, sorted_targets


def ia3_config(exported: Exported) -> IA3Config:
    """Targets by their whole paths; those scaled at their input are PEFT's feed-forward modules."""
    tensors = exported.weights.tensors
    config = IA3Config(
        **common_settings(exported),
        target_modules=sorted(tensors),
        feedforward_modules=sorted(path for path, named in tensors.items() if "l_in" in named),
        fan_in_fan_out=is_transposed(exported),
    )
    config.feedforward_modules = sorted(config.feedforward_modules or [])
    return sorted_targets(config)


def ia3_tensors(exported: Exported) -> dict[str, Tensor]:
    """1 + l: `[d_out 1]` at outputs, `[1 d_in]` at inputs."""
    tensors = {}
    for path, named in exported.weights.tensors.items():
        factors = 1 + plain(named["l_in"]) if "l_in" in named else (1 + plain(named["l_out"])).T.contiguous()
        tensors[f"base_model.model.{path}.ia3_l"] = factors
    return tensors
