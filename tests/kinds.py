"""Every adapter kind, small enough for the models of tests/families.py."""

from typing import Any

from hyperpeft.adapters import ADAPTERS, AdapterKind
from hyperpeft.config import build

SMALL: dict[str, dict[str, Any]] = {
    **{name: {"rank": 2} for name in ("lora", "dora", "sparse")},
    **{name: {"tokens": 3} for name in ("prompt", "prefix")},
}
KINDS: dict[str, AdapterKind] = {
    name: build(ADAPTERS, {"kind": name, **SMALL.get(name, {})}, name="adapter") for name in ADAPTERS
}
