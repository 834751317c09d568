"""Rescaled activations: right derivatives of every order, and one kept input for all that is scaled at the output."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.graph import saved_tensors_hooks

from hyperpeft.adapters import Call, Ia3

SIZE, TASKS, ROWS = 4, 2, 3


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(SIZE, SIZE, dtype=torch.float64).requires_grad_(False)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def scaled(module: nn.Linear, x: Tensor, **weights: Tensor) -> Tensor:
    return Ia3().forward(Call(module, module.forward, (x,), {}), weights, train=True)


@pytest.mark.parametrize("name", ["l_in", "l_out"])
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_derivatives_are_right(check: Any, name: str) -> None:
    module, x, vector = linear(), draw(TASKS * ROWS, SIZE, seed=1), draw(TASKS, 1, SIZE, seed=2)
    assert check(lambda x, vector: scaled(module, x.tanh(), **{name: vector}).tanh(), (x, vector))


def test_the_output_is_the_frozen_modules_times_one_plus_the_vector() -> None:
    module, x, vector = linear(), draw(TASKS * ROWS, SIZE, seed=1), draw(TASKS, 1, SIZE, seed=2)
    expected = module(x) * (1 + vector.squeeze(1)).repeat_interleave(ROWS, dim=0)
    assert torch.equal(scaled(module, x, l_out=vector), expected)
    with torch.no_grad():
        assert torch.equal(scaled(module, x, l_out=vector), expected)


def test_two_that_read_one_input_keep_it_once() -> None:
    keys, values, x = linear(), linear(), draw(TASKS * ROWS, SIZE, seed=1)
    kept = set()

    def keep(tensor: Tensor) -> Tensor:
        kept.add(tensor.untyped_storage().data_ptr())
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        made = [scaled(module, x, l_out=draw(TASKS, 1, SIZE, seed=2)) for module in (keys, values)]
    assert x.untyped_storage().data_ptr() in kept
    assert not kept & {y.untyped_storage().data_ptr() for y in made}
    assert len(kept) <= 3  # the input and the two vectors
