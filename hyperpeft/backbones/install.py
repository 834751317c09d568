"""How adapter weights are installed in a frozen model and taken out again: this file's secret.

Each target module changes its class, in place, to a subclass whose forward is the adapter kind's, given the module's
own. Unlike a hook this is seen by torch.compile, leaves every parameter and name where it was, and works for any
module, quantised ones included.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from torch import Tensor, nn

from hyperpeft.adapters import AdapterKind, Call
from hyperpeft.weights import AdapterWeights


class _Adapted:
    """Mixed in before the module's own class. `_adapter` holds (kind, tensors, train)."""

    _adapter: tuple[AdapterKind, Mapping[str, Tensor], bool]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        kind, tensors, train = self._adapter
        return kind.forward(Call(self, super().forward, args, kwargs), tensors, train=train)  # type: ignore[misc]


@cache
def _adapted_class(own: type) -> type:
    return type(f"Adapted{own.__name__}", (_Adapted, own), {})


@contextmanager
def installed(model: nn.Module, weights: AdapterWeights, *, train: bool) -> Iterator[None]:
    """Compute with the weights inside the `with`; leave the model exactly as found, also after an exception.

    Raises ValueError if a target is adapted already: adapters of one backbone are used one after the other.
    """
    found: list[tuple[Any, type]] = []
    try:
        companions: dict[str, Mapping[str, Tensor]] = {path: {} for path in weights.adapter.companions(model)}
        for path, tensors in {**companions, **weights.tensors}.items():
            module = model.get_submodule(path)
            own = type(module)
            if issubclass(own, _Adapted):
                raise ValueError(f"{path} is adapted already: leave the other `with backbone.adapted(...)` first.")
            found.append((module, own))
            module.__class__ = _adapted_class(own)  # type: ignore[arg-type]
            module.__dict__["_adapter"] = (weights.adapter, tensors, train)
        yield
    finally:
        for module, own in found:
            module.__class__ = own
            module.__dict__.pop("_adapter", None)


@contextmanager
def regrouped(model: nn.Module, tensors: Mapping[str, Mapping[str, Tensor]]) -> Iterator[None]:
    """Inside `installed`: compute with other tensors for the same target paths for the length of the `with`."""
    modules: list[Any] = [model.get_submodule(path) for path in tensors]
    before = [module.__dict__["_adapter"] for module in modules]
    try:
        for module, named, (kind, _, train) in zip(modules, tensors.values(), before, strict=True):
            module.__dict__["_adapter"] = (kind, named, train)
        yield
    finally:
        for module, found in zip(modules, before, strict=True):
            module.__dict__["_adapter"] = found
