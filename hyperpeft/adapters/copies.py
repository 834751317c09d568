"""Tensors of tasks, once for each group of rows: a task with several groups has as many copies."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


class Copies(Mapping[str, Tensor]):
    """`originals[name][index]` for each name, `[group ...]`, copied when first asked for.

    `originals`: `[task ...]` each. `index`: the task of each group.
    """

    def __init__(self, originals: Mapping[str, Tensor], index: Tensor):
        self.originals = originals
        self.index = index.to(next(iter(originals.values())).device)
        self._made: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._made:
            self._made[name] = self.originals[name].index_select(0, self.index)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.originals)

    def __len__(self) -> int:
        return len(self.originals)


def into(x: Tensor, A: Tensor, index: Tensor) -> Tensor:
    """x[g] A[index[g]]^T for each group g, `[group n rank]`, from x `[group n in]` and A `[task rank in]`.

    In x's dtype. Copies of A are not kept for backward but made again there: where groups are of few rows they would
    outweigh all else that the product keeps.
    """
    return _Into.apply(x, A, index)  # type: ignore[no-untyped-call,no-any-return]


def added(y: Tensor, low: Tensor, B: Tensor, index: Tensor, scale: float) -> Tensor:
    """y[g] + scale * low[g] B[index[g]] for each group g, `[group n out]`; B is `[task rank out]`. See `into`."""
    return _Added.apply(y, low, B, index, scale)  # type: ignore[no-untyped-call,no-any-return]


class _Into(torch.autograd.Function):
    """Differentiable any number of times: backward consists of differentiable operations on what was saved."""

    @staticmethod
    def forward(x: Tensor, A: Tensor, index: Tensor) -> Tensor:
        return x @ _of(A, index, x).mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, A, index = ctx.saved_tensors
        needed = ctx.needs_input_grad
        return (
            grad @ _of(A, index, grad) if needed[0] else None,
            _summed((x.mT @ grad).mT, A, index) if needed[1] else None,
            None,
        )


class _Added(torch.autograd.Function):
    """As `_Into`."""

    @staticmethod
    def forward(y: Tensor, low: Tensor, B: Tensor, index: Tensor, scale: float) -> Tensor:
        return torch.baddbmm(y, low, _of(B, index, low), alpha=scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor, float], output: Tensor) -> None:
        _, low, B, index, ctx.scale = inputs
        ctx.save_for_backward(low, B, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        low, B, index = ctx.saved_tensors
        needed = ctx.needs_input_grad
        return (
            grad if needed[0] else None,
            ctx.scale * (grad @ _of(B, index, grad).mT) if needed[1] else None,
            _summed(ctx.scale * (low.mT @ grad), B, index) if needed[2] else None,
            None,
            None,
        )


def _of(W: Tensor, index: Tensor, like: Tensor) -> Tensor:
    """The tensor of each group's task, in the dtype of `like`."""
    return W.index_select(0, index).to(like.dtype)


def _summed(grads: Tensor, W: Tensor, index: Tensor) -> Tensor:
    """The gradient of W: over the groups of each task, in W's dtype."""
    return torch.zeros_like(W).index_add(0, index, grads.to(W.dtype))
