"""DoRA for PEFT: a LoRA with magnitudes."""

from peft import LoraConfig
from torch import Tensor

from hyperpeft.adapters.base import frozen_weight
from hyperpeft.exports.base import Exported, plain
from hyperpeft.exports.low_rank import low_rank
from hyperpeft.exports.peft.base import common_settings, is_transposed, sorted_targets


def dora_config(exported: Exported) -> LoraConfig:
    """lora_alpha = r, since dora_tensors folds the scale into B; targets by their whole paths."""
    rank = next(iter(low_rank(exported).values()))[0].shape[0]
    config = LoraConfig(
        **common_settings(exported),
        r=rank,
        lora_alpha=rank,
        target_modules=sorted(exported.weights.tensors),
        use_dora=True,
        fan_in_fan_out=is_transposed(exported),
    )
    return sorted_targets(config)


def dora_tensors(exported: Exported) -> dict[str, Tensor]:
    """A, B and the magnitude of each output, `||W|| * (1 + magnitude)` as PEFT stores it."""
    tensors = {}
    for path, (A, B) in low_rank(exported).items():
        norms = frozen_weight(exported.backbone.model.get_submodule(path)).float().cpu().norm(dim=1)
        relative = plain(exported.weights.tensors[path]["magnitude"]).flatten()
        tensors[f"base_model.model.{path}.lora_A.weight"] = A
        tensors[f"base_model.model.{path}.lora_B.weight"] = B.T.contiguous()
        tensors[f"base_model.model.{path}.lora_magnitude_vector"] = norms * (1 + relative)
    return tensors
