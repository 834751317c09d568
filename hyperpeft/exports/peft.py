"""PEFT folders: adapter_config.json, adapter_model.safetensors, README.md."""

import warnings
from pathlib import Path

import torch
from peft import LoraConfig, TaskType
from safetensors.torch import save_file
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from hyperpeft.exports.base import Exported

KINDS = ("lora",)
TASK_TYPES = {"causal_lm": TaskType.CAUSAL_LM, "encoder": TaskType.FEATURE_EXTRACTION}


def write_peft(exported: Exported, folder: Path) -> None:
    """Write what `PeftModel.from_pretrained` loads, in the form that every LoRA runtime reads alike.

    The scale is folded into B, so that lora_alpha = r and no scaling rule matters; one rank; target modules by name;
    every module of such a name is present, those without an adapter as zeros.
    """
    exported.require(KINDS, "peft")
    config = peft_config(exported)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config.save_pretrained(str(folder))
    save_file(peft_tensors(exported), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "README.md").write_text(exported.card, encoding="utf-8")


def peft_config(exported: Exported) -> LoraConfig:
    """The LoraConfig that goes with peft_tensors."""
    weights, backbone = exported.weights, exported.backbone
    rank = next(iter(weights.tensors.values()))["A"].shape[1]
    names = sorted({path.rsplit(".", 1)[-1] for path in weights.tensors})
    transposed = any(isinstance(backbone.model.get_submodule(path), Conv1D) for path in weights.tensors)
    config = LoraConfig(
        task_type=TASK_TYPES[backbone.settings()["kind"]],
        base_model_name_or_path=backbone.name,
        revision=None,
        r=rank,
        lora_alpha=rank,
        target_modules=names,
        lora_dropout=0.0,
        bias="none",
        fan_in_fan_out=transposed,
        inference_mode=True,
    )
    config.target_modules = names  # LoraConfig makes a set of it, whose order in the file would change from run to run
    return config


def peft_tensors(exported: Exported) -> dict[str, Tensor]:
    """`base_model.model.<path>.lora_A.weight [r d_in]` and `...lora_B.weight [d_out r]`, contiguous."""
    weights = exported.weights
    scale = weights.adapter.scale  # type: ignore[attr-defined]
    tensors = {}
    for path, named in weights.tensors.items():
        tensors[f"base_model.model.{path}.lora_A.weight"] = named["A"][0].detach().cpu().float().contiguous()
        tensors[f"base_model.model.{path}.lora_B.weight"] = (
            scale * named["B"][0].detach().cpu().float().T
        ).contiguous()
    return tensors | _missing(exported, tensors)


def _missing(exported: Exported, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Zeros for modules that PEFT's suffix match takes in too."""
    names = {path.rsplit(".", 1)[-1] for path in exported.weights.tensors}
    rank = next(iter(tensors.values())).shape[0]
    zeros = {}
    for target in exported.backbone.linear_modules():
        prefix = f"base_model.model.{target.path}"
        if target.name in names and f"{prefix}.lora_A.weight" not in tensors:
            zeros[f"{prefix}.lora_A.weight"] = torch.zeros(rank, target.d_in)
            zeros[f"{prefix}.lora_B.weight"] = torch.zeros(target.d_out, rank)
    return zeros
