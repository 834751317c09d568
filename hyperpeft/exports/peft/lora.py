"""LoRA for PEFT, in the form that every LoRA runtime reads alike."""

import torch
from peft import LoraConfig
from torch import Tensor

from hyperpeft.exports.base import Exported
from hyperpeft.exports.low_rank import low_rank
from hyperpeft.exports.peft.base import common_settings, is_transposed, matched, sorted_targets, target_names


def lora_config(exported: Exported) -> LoraConfig:
    """lora_alpha = r, since lora_tensors folds the scale into B: no scaling rule of any runtime matters then."""
    rank = _rank(exported)
    config = LoraConfig(
        **common_settings(exported),
        r=rank,
        lora_alpha=rank,
        target_modules=target_names(exported),
        lora_dropout=0.0,
        bias="none",
        fan_in_fan_out=is_transposed(exported),
    )
    return sorted_targets(config)


def lora_tensors(exported: Exported) -> dict[str, Tensor]:
    """`base_model.model.<path>.lora_A.weight [r d_in]` and `...lora_B.weight [d_out r]`, contiguous.

    Modules of a target's name that have no adapter are zeros.
    """
    adapted, rank = low_rank(exported), _rank(exported)
    tensors = {}
    for path, (d_in, d_out) in matched(exported).items():
        A, B = adapted[path] if path in adapted else (torch.zeros(rank, d_in), torch.zeros(rank, d_out))
        tensors[f"base_model.model.{path}.lora_A.weight"] = A
        tensors[f"base_model.model.{path}.lora_B.weight"] = B.T.contiguous()
    return tensors


def _rank(exported: Exported) -> int:
    return max(named["A"].shape[1] for named in exported.weights.tensors.values())
