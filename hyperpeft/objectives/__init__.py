"""Objectives: what meta-training minimises."""

from collections.abc import Mapping
from types import MappingProxyType

from hyperpeft.objectives.base import Objective
from hyperpeft.objectives.maml import Maml
from hyperpeft.objectives.meta_sgd import MetaSgd
from hyperpeft.objectives.reconstruction import Reconstruction, load_adapters, save_adapters
from hyperpeft.objectives.reptile import Reptile
from hyperpeft.objectives.sft import Sft
from hyperpeft.objectives.through_finetune import ThroughFinetune

OBJECTIVES: Mapping[str, type[Objective]] = MappingProxyType(
    {
        "sft": Sft,
        "maml": Maml,
        "meta_sgd": MetaSgd,
        "reconstruction": Reconstruction,
        "reptile": Reptile,
        "through_finetune": ThroughFinetune,
    }
)

__all__ = [
    "OBJECTIVES",
    "Maml",
    "MetaSgd",
    "Objective",
    "Reconstruction",
    "Reptile",
    "Sft",
    "ThroughFinetune",
    "load_adapters",
    "save_adapters",
]
