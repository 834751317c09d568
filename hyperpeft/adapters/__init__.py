"""Adapter kinds: what changes in the backbone."""

from collections.abc import Mapping
from types import MappingProxyType

from hyperpeft.adapters.base import ALL, USUAL, AdapterKind, Call, Choice, Joins, Shapes, Sort, Target
from hyperpeft.adapters.bias import Bias
from hyperpeft.adapters.bottleneck import Bottleneck
from hyperpeft.adapters.dora import Dora
from hyperpeft.adapters.ia3 import Ia3
from hyperpeft.adapters.lora import Lora
from hyperpeft.adapters.prefix import Prefix
from hyperpeft.adapters.prompt import Prompt
from hyperpeft.adapters.sparse import Sparse

ADAPTERS: Mapping[str, type[AdapterKind]] = MappingProxyType(
    {kind.kind: kind for kind in (Lora, Dora, Bottleneck, Ia3, Prompt, Prefix, Bias, Sparse)}
)

__all__ = [
    "ADAPTERS",
    "ALL",
    "USUAL",
    "AdapterKind",
    "Bias",
    "Bottleneck",
    "Call",
    "Choice",
    "Dora",
    "Ia3",
    "Joins",
    "Lora",
    "Prefix",
    "Prompt",
    "Shapes",
    "Sort",
    "Sparse",
    "Target",
]
