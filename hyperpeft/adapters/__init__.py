"""Adapter kinds: what changes in the backbone."""

from collections.abc import Mapping
from types import MappingProxyType

from hyperpeft.adapters.base import AdapterKind, Shapes, Target
from hyperpeft.adapters.lora import Lora

ADAPTERS: Mapping[str, type[AdapterKind]] = MappingProxyType({"lora": Lora})

__all__ = ["ADAPTERS", "AdapterKind", "Lora", "Shapes", "Target"]
