import pytest
import torch

from hyperpeft.adapters.attention import gated


def test_a_closed_gate_adds_nothing_and_has_a_gradient_whatever_the_scores() -> None:
    """Scores that are not scaled (T5) can be hundreds, and exp(200) is infinite."""
    gate = torch.zeros(1, 1, 1, requires_grad=True)
    key = torch.full((1, 1, 3, 4), 200.0, requires_grad=True)
    made = gated(gate, torch.ones(1, 1, 2, 4), key, torch.ones(1, 1, 3, 4), {"scaling": 1.0})
    assert torch.equal(made, torch.zeros(1, 2, 1, 4))
    of_gate, of_key = torch.autograd.grad(made.sum(), [gate, key])
    assert of_gate.item() == pytest.approx(8.0)
    assert of_key.isfinite().all()


def test_tasks_have_their_own_gates() -> None:
    gate = torch.tensor([1.0, -2.0]).reshape(2, 1, 1)
    ones = torch.ones(4, 1, 3, 4)
    made = gated(gate, torch.ones(4, 2, 2, 4), ones, ones, {"scaling": 0.5})
    assert made[:, 0, 0, 0].tolist() == [1.0, 1.0, -2.0, -2.0]
