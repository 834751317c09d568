"""Exports: adapter weights in the formats that other programs read."""

from collections.abc import Mapping
from types import MappingProxyType

from hyperpeft.exports.base import Export, Exported, written_at_once
from hyperpeft.exports.merged import write_merged
from hyperpeft.exports.peft import peft_config, peft_tensors, write_peft
from hyperpeft.exports.safetensors import write_safetensors

EXPORTS: Mapping[str, Export] = MappingProxyType(
    {"peft": write_peft, "safetensors": write_safetensors, "merged": write_merged}
)

__all__ = ["EXPORTS", "Export", "Exported", "peft_config", "peft_tensors", "written_at_once"]
