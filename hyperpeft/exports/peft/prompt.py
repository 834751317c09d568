"""Soft prompts for PEFT, whose prompts have no gates."""

from typing import Any

from peft import PromptTuningConfig
from torch import Tensor

from hyperpeft.exports.base import Exported, plain
from hyperpeft.exports.peft.base import common_settings


def prompt_config(exported: Exported) -> PromptTuningConfig:
    """Sizes of the prompt and of the model. Raises ValueError for a prompt with gates."""
    adapter: Any = exported.weights.adapter
    if adapter.gated:
        raise ValueError(
            "PEFT's prompts have no gates, this one has: PEFT would compute something else. Use format 'safetensors', "
            "or train with adapter.gated=false."
        )
    config = exported.backbone.model.config
    return PromptTuningConfig(
        **common_settings(exported),
        num_virtual_tokens=adapter.tokens,
        token_dim=config.hidden_size,
        num_transformer_submodules=1,
        num_attention_heads=config.num_attention_heads,
        num_layers=config.num_hidden_layers,
    )


def prompt_tensors(exported: Exported) -> dict[str, Tensor]:
    """One tensor for the whole model."""
    (named,) = exported.weights.tensors.values()
    return {"prompt_embeddings": plain(named["prompt"])}
