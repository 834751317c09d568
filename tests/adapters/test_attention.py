import torch

from hyperpeft.adapters.attention import mixed


def test_extra_keys_that_are_hardly_seen_add_nothing_and_keep_a_gradient() -> None:
    """Scores that are not scaled (T5) differ by hundreds, and exp(200) is infinite."""
    gate = torch.tensor(0.5, requires_grad=True)
    key = torch.zeros(1, 1, 3, 4, requires_grad=True)
    weight = torch.stack([gate.expand(1, 1, 2), torch.full((1, 1, 2), 200.0)])
    plain = torch.randn(1, 2, 1, 4, generator=torch.Generator().manual_seed(0))
    made = mixed(plain, weight, torch.ones(1, 1, 2, 4), key, torch.ones(1, 1, 3, 4), {"scaling": 1.0})
    assert torch.equal(made, plain)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(made.sum(), [gate, key]))
