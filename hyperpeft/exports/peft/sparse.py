"""Sparse changes for PEFT: SHiRA, whose places are drawn by the same seed."""

from typing import Any

from peft import ShiraConfig
from torch import Tensor

from hyperpeft.exports.base import Exported, plain
from hyperpeft.exports.peft.base import common_settings, is_transposed, sorted_targets


def shira_config(exported: Exported) -> ShiraConfig:
    """Targets by their whole paths. Raises ValueError for transposed linear layers (GPT-2): SHiRA knows none."""
    if is_transposed(exported):
        raise ValueError("PEFT's SHiRA cannot adapt transposed linear layers (GPT-2). Use 'merged' or 'safetensors'.")
    adapter: Any = exported.weights.adapter
    config = ShiraConfig(
        **common_settings(exported),
        r=adapter.rank,
        random_seed=adapter.seed,
        target_modules=sorted(exported.weights.tensors),
    )
    return sorted_targets(config)


def shira_tensors(exported: Exported) -> dict[str, Tensor]:
    """The values in the order of their places, row by row."""
    return {
        f"base_model.model.{path}.shira_weight": plain(named["values"]).flatten()
        for path, named in exported.weights.tensors.items()
    }
