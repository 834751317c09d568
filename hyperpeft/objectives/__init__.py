"""Objectives: what meta-training minimises."""

from collections.abc import Mapping
from types import MappingProxyType

from hyperpeft.objectives.base import Objective
from hyperpeft.objectives.sft import Sft

OBJECTIVES: Mapping[str, type[Objective]] = MappingProxyType({"sft": Sft})

__all__ = ["OBJECTIVES", "Objective", "Sft"]
