"""What a translation to PEFT is, and what every translation needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from peft import PeftConfig, TaskType
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from hyperpeft.exports.base import Exported


@dataclass(frozen=True)
class PeftForm:
    """How one adapter kind is written for PEFT: its config, and tensors by the keys of adapter_model.safetensors."""

    config: Callable[[Exported], PeftConfig]
    tensors: Callable[[Exported], dict[str, Tensor]]


def common_settings(exported: Exported) -> dict[str, Any]:
    """What every PeftConfig says: task type, base model, revision, no training."""
    return {
        "task_type": task_type(exported),
        "base_model_name_or_path": exported.base_model,
        "revision": exported.revision,
        "inference_mode": True,
    }


def task_type(exported: Exported) -> TaskType:
    """Of the frozen model, by what it can do."""
    model = exported.backbone.model
    if not model.can_generate():
        return TaskType.FEATURE_EXTRACTION
    return TaskType.SEQ_2_SEQ_LM if model.config.is_encoder_decoder else TaskType.CAUSAL_LM


def sorted_targets(config: Any) -> Any:
    """The config with its targets as a sorted list: PEFT makes a set of them, whose order would change in the file."""
    config.target_modules = sorted(config.target_modules)
    return config


def target_names(exported: Exported) -> list[str]:
    """Last parts of the adapted modules' paths, sorted: PEFT adapts every module whose path ends so."""
    return sorted({path.rsplit(".", 1)[-1] for path in exported.weights.tensors})


def matched(exported: Exported) -> dict[str, tuple[int, int]]:
    """(d_in, d_out) by path of every linear-like module that PEFT adapts for these names, adapted here or not."""
    names = set(target_names(exported))
    modules = exported.backbone.model.named_modules()
    sizes = ((path, _sizes(module)) for path, module in modules if path.rsplit(".", 1)[-1] in names)
    return {path: size for path, size in sizes if size}


def _sizes(module: nn.Module) -> tuple[int, int] | None:
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    return (module.nx, module.nf) if isinstance(module, Conv1D) else None


def is_transposed(exported: Exported) -> bool:
    """Whether the adapted modules keep their weight as `[d_in d_out]` (GPT-2)."""
    model = exported.backbone.model
    return any(isinstance(model.get_submodule(path), Conv1D) for path in exported.weights.tensors)
