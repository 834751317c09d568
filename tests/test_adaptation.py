"""Brief fine-tuning and the differentiable inner loop."""

from typing import Any

import pytest
import torch
from conftest import color_episode, noise, size_episode
from torch import Tensor
from torch.func import functional_call, grad
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from hyperpeft.adaptation import FinetuneSettings, finetune, inner_loop
from hyperpeft.adapters import Lora
from hyperpeft.backbones import Backbone, CausalLm, Encoder
from hyperpeft.backbones.causal_lm import CausalLmBatch
from hyperpeft.tasks import Episode, Example
from hyperpeft.weights import AdapterWeights

EPISODES = [color_episode(), size_episode()]
LORA = Lora(rank=2, alpha=4.0)


def start(backbone: Backbone[Any], tasks: int = 2, adapter: Lora = LORA) -> AdapterWeights:
    return noise(backbone.start(adapter, tasks=tasks), 0, 0.05)


def support_loss(backbone: Backbone[Any], weights: AdapterWeights, episodes: list[Episode]) -> Tensor:
    with torch.no_grad(), backbone.adapted(weights):
        return backbone.loss(backbone.support_batch(episodes))


def assert_close(one: AdapterWeights, two: AdapterWeights, **tolerance: float) -> None:
    for (name, leaf), (other, value) in zip(one.named(), two.named(), strict=True):
        assert name == other
        torch.testing.assert_close(leaf, value, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


def assert_equal(one: AdapterWeights, two: AdapterWeights) -> None:
    assert_close(one, two, rtol=0, atol=0)


def differ(one: AdapterWeights, two: AdapterWeights) -> bool:
    return any(not torch.equal(leaf, value) for (_, leaf), (_, value) in zip(one.named(), two.named(), strict=True))


def many(count: int) -> Episode:
    """More examples than fit into small batches; three in four are green."""
    return color_episode(support=tuple(Example(f"thing {n}", "red" if n % 4 == 0 else "green") for n in range(count)))


def test_every_task_gets_better_on_its_support(backbone: Backbone[Any]) -> None:
    fresh = backbone.start(LORA, tasks=2)
    tuned = finetune(backbone, fresh, EPISODES, FinetuneSettings(steps=20, lr=1e-2))
    before, after = support_loss(backbone, fresh, EPISODES), support_loss(backbone, tuned, EPISODES)
    assert (after < 0.9 * before).all()
    assert (tuned.tasks, tuned.adapter, tuned.backbone) == (2, LORA, backbone.identity)


def test_old_weights_and_backbone_stay_as_they_are(backbone: Backbone[Any]) -> None:
    weights = start(backbone)
    copy = weights.map(torch.clone)
    frozen = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    tuned = finetune(backbone, weights, EPISODES, FinetuneSettings(steps=2, lr=1e-2))
    assert_equal(weights, copy)
    assert all(torch.equal(value, frozen[name]) for name, value in backbone.model.state_dict().items())
    assert not any(leaf.requires_grad for _, leaf in tuned.named())
    assert differ(tuned, weights)


def test_no_steps_change_nothing(backbone: Backbone[Any]) -> None:
    assert_equal(finetune(backbone, start(backbone), EPISODES, FinetuneSettings(steps=0)), start(backbone))


def test_the_first_step_moves_each_number_by_the_learning_rate_against_its_gradient(backbone: Backbone[Any]) -> None:
    """Adam's first step is -lr * sign(gradient), whatever the gradient's size."""
    weights = start(backbone).map(lambda leaf: leaf.requires_grad_(True))
    with backbone.adapted(weights):
        loss = backbone.loss(backbone.support_batch(EPISODES)).sum()
    gradients = torch.autograd.grad(loss, [leaf for _, leaf in weights.named()])
    tuned = finetune(backbone, weights, EPISODES, FinetuneSettings(steps=1, lr=1e-2))
    for (_, leaf), (_, moved), gradient in zip(weights.named(), tuned.named(), gradients, strict=True):
        clear = gradient.abs() > 1e-5
        torch.testing.assert_close((moved - leaf)[clear], -1e-2 * gradient.sign()[clear], rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("rows", [64, 2])
def test_a_task_tuned_in_company_equals_the_task_tuned_alone(backbone: Backbone[Any], rows: int) -> None:
    settings = FinetuneSettings(steps=5, rows=rows)
    together = finetune(backbone, start(backbone), EPISODES, settings)
    for task, episode in enumerate(EPISODES):
        alone = finetune(backbone, start(backbone)[task], [episode], settings)
        assert_close(together[task], alone, rtol=0, atol=1e-4)
        assert differ(alone, start(backbone)[task])


def test_the_query_is_not_seen(backbone: Backbone[Any]) -> None:
    settings = FinetuneSettings(steps=2)
    hidden = [episode.with_query(()) for episode in EPISODES]
    assert_equal(
        finetune(backbone, start(backbone), hidden, settings), finetune(backbone, start(backbone), EPISODES, settings)
    )


def test_fine_tuning_works_where_gradients_are_off(encoder: Encoder) -> None:
    settings = FinetuneSettings(steps=2)
    expected = finetune(encoder, start(encoder), EPISODES, settings)
    with torch.no_grad():
        assert_equal(finetune(encoder, start(encoder), EPISODES, settings), expected)


def test_a_task_without_support_is_named(backbone: Backbone[Any]) -> None:
    with pytest.raises(ValueError, match=r"task 'sizes' has no examples to fine-tune on\. Pass examples"):
        finetune(backbone, start(backbone), [color_episode(), size_episode(support=())], FinetuneSettings())


@pytest.fixture
def drawn(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Example, ...]]:
    """The support that each batch of the encoder was made from."""
    seen: list[tuple[Example, ...]] = []
    make = encoder.support_batch

    def spy(episodes: list[Episode]) -> Any:
        seen.extend(episode.support for episode in episodes)
        return make(episodes)

    monkeypatch.setattr(encoder, "support_batch", spy)
    return seen


def test_large_support_is_drawn_anew_each_step_evenly_over_labels(
    encoder: Encoder, drawn: list[tuple[Example, ...]]
) -> None:
    finetune(encoder, start(encoder, 1), [many(40)], FinetuneSettings(steps=4, rows=8))
    assert len(drawn) == len(set(drawn)) == 4
    for support in drawn:
        assert len(set(support)) == 8
        assert sorted(example.output for example in support) == ["green"] * 4 + ["red"] * 4


def test_small_support_is_seen_whole(encoder: Encoder, drawn: list[tuple[Example, ...]]) -> None:
    finetune(encoder, start(encoder, 1), [many(40)], FinetuneSettings(steps=4, rows=40))
    assert set(drawn) == {many(40).support}


def test_draws_are_a_function_of_the_seed(encoder: Encoder) -> None:
    def tuned(seed: int) -> AdapterWeights:
        return finetune(encoder, start(encoder, 1), [many(20)], FinetuneSettings(steps=3, rows=4, seed=seed))

    assert_equal(tuned(0), tuned(0))
    assert differ(tuned(0), tuned(7))


def test_dropout_is_a_function_of_the_seed_and_leaves_the_callers_random_numbers_alone(encoder: Encoder) -> None:
    weights = start(encoder, adapter=Lora(rank=2, dropout=0.5))

    def tuned(seed: int) -> AdapterWeights:
        return finetune(encoder, weights, EPISODES, FinetuneSettings(steps=2, seed=seed))

    torch.manual_seed(4)
    expected = torch.rand(2)
    torch.manual_seed(4)
    first = tuned(0)
    assert torch.equal(torch.rand(2), expected)
    assert_equal(first, tuned(0))
    assert differ(first, tuned(1))


# ---- inner loop


def tracked(weights: AdapterWeights) -> AdapterWeights:
    return weights.map(lambda leaf: leaf.detach().clone().requires_grad_(True))


def leaves(weights: AdapterWeights) -> list[Tensor]:
    return [leaf for _, leaf in weights.named()]


def outer_loss(backbone: Backbone[Any], weights: AdapterWeights) -> Tensor:
    with backbone.adapted(weights):
        return backbone.loss(backbone.query_batch(EPISODES)).sum()


def test_one_step_equals_gradient_descent_by_hand(backbone: Backbone[Any]) -> None:
    weights = tracked(start(backbone))
    with backbone.adapted(weights):
        loss = backbone.loss(backbone.support_batch(EPISODES)).sum()
    gradients = iter(torch.autograd.grad(loss, leaves(weights)))
    expected = weights.map(lambda leaf: leaf - 0.1 * next(gradients))
    assert_close(inner_loop(backbone, weights, EPISODES, [0.1]), expected)
    assert differ(expected, weights)


def test_steps_follow_each_other(backbone: Backbone[Any]) -> None:
    weights = tracked(start(backbone))
    first = inner_loop(backbone, weights, EPISODES, [0.05])
    expected = inner_loop(backbone, tracked(first), EPISODES, [0.02])
    assert_close(inner_loop(backbone, weights, EPISODES, [0.05, 0.02]), expected)


@pytest.mark.parametrize("second_order", [False, True])
def test_plain_weights_do_as_well(backbone: Backbone[Any], second_order: bool) -> None:
    expected = inner_loop(backbone, tracked(start(backbone)), EPISODES, [0.05, 0.02])
    with torch.no_grad():
        made = inner_loop(backbone, start(backbone), EPISODES, [0.05, 0.02], second_order=second_order)
    assert_close(made, expected)


def test_first_order_passes_the_gradient_through_unchanged(backbone: Backbone[Any]) -> None:
    weights = tracked(start(backbone))
    adapted = inner_loop(backbone, weights, EPISODES, [0.1, 0.1])
    loss = outer_loss(backbone, adapted)
    at_start = torch.autograd.grad(loss, leaves(weights), retain_graph=True)
    at_end = torch.autograd.grad(loss, leaves(adapted))
    assert all(map(torch.equal, at_start, at_end))


def test_step_sizes_get_the_gradient_that_finite_differences_give(encoder: Encoder) -> None:
    def loss(size: Tensor) -> Tensor:
        return outer_loss(encoder, inner_loop(encoder, tracked(start(encoder)), EPISODES, [size]))

    size = torch.tensor(0.05, requires_grad=True)
    analytic = torch.autograd.grad(loss(size), size)[0]
    numeric = (loss(torch.tensor(0.06)) - loss(torch.tensor(0.04))).detach() / 0.02
    torch.testing.assert_close(analytic, numeric, rtol=0.05, atol=1e-4)
    assert numeric.abs() > 1e-3


def functional_loss(llama: CausalLm, batch: CausalLmBatch, tensors: dict[str, dict[str, Tensor]]) -> Tensor:
    """The same loss with one task's adapter merged into the weights, from torch.func and transformers alone."""
    merged = {
        f"{path}.weight": llama.model.get_submodule(path).weight + LORA.scale * named["B"][0].T @ named["A"][0]
        for path, named in tensors.items()
    }
    positions = (batch.mask.cumsum(1) - 1).clamp(min=0)
    inputs = {"input_ids": batch.ids, "attention_mask": batch.mask, "position_ids": positions, "use_cache": False}
    logits = functional_call(llama.model, merged, (), inputs).logits[:, :-1]
    losses = functional.cross_entropy(logits.transpose(1, 2), batch.targets[:, 1:], ignore_index=-100, reduction="none")
    return (losses.sum(1) / (batch.targets[:, 1:] != -100).sum(1)).mean()


@pytest.mark.parametrize("steps", [1, 2])
def test_second_order_meta_gradient_equals_torch_func(llama: CausalLm, steps: int) -> None:
    support, query = llama.support_batch(EPISODES[:1]), llama.query_batch(EPISODES[:1])
    size = 0.3

    def outer(tensors: dict[str, dict[str, Tensor]]) -> Tensor:
        for _ in range(steps):
            moves = grad(lambda inner: functional_loss(llama, support, inner))(tensors)
            tensors = tree_map(lambda leaf, move: leaf - size * move, tensors, moves)
        return functional_loss(llama, query, tensors)

    weights = tracked(start(llama, 1))
    with sdpa_kernel(SDPBackend.MATH):
        expected = grad(outer)(weights.detach().tensors)
    made = {}
    for order in (1, 2):
        adapted = inner_loop(llama, weights, EPISODES[:1], [size] * steps, second_order=order == 2)
        with llama.adapted(adapted):
            loss = llama.loss(query).sum()
        made[order] = torch.cat([leaf.flatten() for leaf in torch.autograd.grad(loss, leaves(weights))])
    reference = torch.cat(
        [expected[path][name].flatten() for path in weights.tensors for name in weights.tensors[path]]
    )
    assert (made[2] - reference).norm() < 1e-3 * reference.norm()
    assert (made[1] - reference).norm() > 2e-2 * reference.norm()


def test_second_order_is_differentiable_on_every_backbone(backbone: Backbone[Any]) -> None:
    """Along a random direction the meta-gradient is the finite difference of the outer loss."""
    weights = tracked(start(backbone))
    direction = noise(weights.detach() * 0.0, 9, 1.0)

    def loss(at: AdapterWeights) -> Tensor:
        return outer_loss(backbone, inner_loop(backbone, at, EPISODES, [0.05], second_order=True))

    gradients = torch.autograd.grad(loss(weights), leaves(weights))
    analytic = sum((g * d).sum() for g, d in zip(gradients, leaves(direction), strict=True))
    ahead, behind = (loss(tracked(weights.detach() + direction * step)).detach() for step in (2e-3, -2e-3))
    torch.testing.assert_close(analytic, (ahead - behind) / 4e-3, rtol=0.05, atol=5e-3)
