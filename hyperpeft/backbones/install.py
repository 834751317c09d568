"""How adapter weights are installed in a frozen model and taken out again: this file's secret.

Each target module changes its class, in place, to a subclass whose forward is the adapter kind's, given the module's
own. Unlike a hook this is seen by torch.compile, leaves every parameter and name where it was, and works for any
module, quantised ones included.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from hyperpeft.adapters import AdapterKind, Call
from hyperpeft.adapters.copies import Copies
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


def transformer_layers(model: nn.Module) -> list[nn.Module]:
    """Those that transformers can compute again in backward, outermost ones."""
    found = {path: module for path, module in model.named_modules() if isinstance(module, GradientCheckpointingLayer)}
    return [module for path, module in found.items() if not any(path.startswith(f"{outer}.") for outer in found)]


class _Checkpointed:
    """Mixed in before a layer's class, which may be an adapted one."""

    _own: type

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self._own.forward(self, *args, **kwargs)  # type: ignore[attr-defined]
        compute = partial(self._own.forward, self)  # type: ignore[attr-defined]
        if torch.compiler.is_compiling():  # what is computed again is a graph, with the weights as its inputs
            return checkpoint(compute, *args, use_reentrant=False, **kwargs)
        then = nullcontext(), _AsThen(self)
        return checkpoint(compute, *args, use_reentrant=False, context_fn=lambda: then, **kwargs)


@cache
def _checkpointed_class(own: type) -> type:
    return type(f"Checkpointed{own.__name__}", (_Checkpointed, own), {"_own": own})


@contextmanager
def checkpointed(model: nn.Module) -> Iterator[None]:
    """Inside `installed`: keep of each layer what goes in, and compute it again in backward, also after the `with`.

    Again means with the weights of the time: backward may come when others are installed, or none.
    """
    layers: list[tuple[Any, type]] = [(layer, type(layer)) for layer in transformer_layers(model)]
    try:
        for layer, own in layers:
            layer.__class__ = _checkpointed_class(own)
        yield
    finally:
        for layer, own in layers:
            layer.__class__ = own


class _AsThen:
    """A `with`, as often as wanted, in which a layer's modules compute as when this was made.

    Copies are made again. Attention is computed plainly if it was then: second derivatives need it.
    """

    def __init__(self, layer: Any):
        flash, efficient = torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.mem_efficient_sdp_enabled
        self._plainly = not (flash() or efficient())  # type: ignore[no-untyped-call]
        self._left = ExitStack()
        adapted = [module for module in layer.modules() if isinstance(module, _Adapted)]
        self._then = [(module, type(module), module._adapter) for module in adapted]
        self._now: list[tuple[Any, type, Any]] = []

    def __enter__(self) -> None:
        if self._plainly:
            self._left.enter_context(sdpa_kernel(SDPBackend.MATH))
        self._now = [(module, type(module), module.__dict__.get("_adapter")) for module, _, _ in self._then]
        for module, own, (kind, tensors, train) in self._then:
            fresh = Copies(tensors.originals, tensors.index) if isinstance(tensors, Copies) else tensors
            module.__class__, module.__dict__["_adapter"] = own, (kind, fresh, train)

    def __exit__(self, *_: object) -> None:
        self._left.close()
        for module, own, adapter in self._now:
            module.__class__ = own
            del module.__dict__["_adapter"]
            if adapter is not None:
                module.__dict__["_adapter"] = adapter
