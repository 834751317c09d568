"""Copies of a task's tensors for several groups of rows: equal to gathered ones, and not kept for backward."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from hyperpeft.adapters import Lora, Target
from hyperpeft.adapters.copies import Copies, added, into

INDEX = torch.tensor([0, 1, 1, 1, 0])
SIZE, ROWS = 6, 3


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def test_copies_are_the_tensors_of_each_groups_task() -> None:
    originals = {"A": draw(2, 4, SIZE, seed=0)}
    copies = Copies(originals, INDEX)
    assert list(copies) == ["A"]
    assert len(copies) == 1
    assert torch.equal(copies["A"], torch.stack([originals["A"][task] for task in INDEX]))
    assert copies["A"] is copies["A"]


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_products_with_copies_have_the_right_gradients(check: Any) -> None:
    x, y, A, B = draw(5, ROWS, SIZE, seed=0), draw(5, ROWS, 4, seed=1), draw(2, 3, SIZE, seed=2), draw(2, 3, 4, seed=3)
    assert torch.equal(into(x, A, INDEX), x @ A[INDEX].mT)
    assert check(lambda x, y, A, B: added(y, into(x, A, INDEX), B, INDEX, 0.5), (x, y, A, B))


def test_lora_with_copies_equals_lora_with_gathered_tensors() -> None:
    kind = Lora(rank=4)
    x, y = draw(5 * ROWS, SIZE, seed=0), draw(5 * ROWS, SIZE, seed=1)
    shapes = kind.shapes(Target("any", SIZE, SIZE))
    weights = {name: draw(2, *shape, seed=2 + i) for i, (name, shape) in enumerate(shapes.items())}
    gathered = kind.apply(x, y, {name: leaf[INDEX] for name, leaf in weights.items()}, train=False)
    copied = kind.apply(x, y, Copies(weights, INDEX), train=False)
    torch.testing.assert_close(copied, gathered)
    wanted = torch.autograd.grad(gathered.square().sum(), [x, y, *weights.values()], create_graph=True)
    found = torch.autograd.grad(copied.square().sum(), [x, y, *weights.values()], create_graph=True)
    torch.testing.assert_close(found, wanted)


def test_copies_are_not_kept_for_backward() -> None:
    x, A, B = draw(5, 1, SIZE, seed=0), draw(2, 100, SIZE, seed=1), draw(2, 100, 1000, seed=2)
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        added(draw(5, 1, 1000, seed=3), into(x, A, INDEX), B, INDEX, 1.0)
    assert len(kept) == 6
    assert max(kept) == B.untyped_storage().nbytes() < B[INDEX].untyped_storage().nbytes()
