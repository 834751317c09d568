"""The contract of every adapter kind on every sort of backbone: a new kind gets these tests for nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import character_tokenizer, color_episode, noise, size_episode, wake
from families import save_family
from transformers.modeling_layers import GradientCheckpointingLayer

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.adapters import ADAPTERS, AdapterKind, Bottleneck, Prompt
from hyperpeft.backbones import Backbone, CausalLm
from hyperpeft.config import build
from hyperpeft.hypernetwork import Hypernetwork
from hyperpeft.weights import AdapterWeights, load_weights, save_weights, stack

EPISODES = [color_episode(), size_episode()]
KINDS: dict[str, AdapterKind] = {name: make() for name, make in ADAPTERS.items()}
KINDS |= {
    "bottleneck": Bottleneck(reduction_factor=8),
    "pfeiffer": Bottleneck(reduction_factor=8, placement="pfeiffer", nonlinearity="relu"),
}
KINDS |= {
    name: build(ADAPTERS, {"kind": name, **settings}, name="adapter")
    for name, settings in {
        "lora": {"rank": 2},
        "dora": {"rank": 2},
        "sparse": {"rank": 2},
        "prompt": {"tokens": 3},
        "prefix": {"tokens": 3},
    }.items()
}


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> AdapterKind:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, CausalLm]:
    """Language models by name, and one in bf16."""
    wanted = {"llama": ("llama", "float32"), "gpt2": ("gpt2", "float32"), "bf16": ("llama", "bfloat16")}
    return {key: CausalLm(str(folders[name]), dtype=dtype, max_tokens=64) for key, (name, dtype) in wanted.items()}


def losses(backbone: Backbone[Any], weights: AdapterWeights, episodes: list[Any]) -> torch.Tensor:
    with torch.no_grad(), backbone.adapted(weights):
        return backbone.loss(backbone.query_batch(episodes))


def test_the_backbone_is_unchanged_at_the_start(backbone: Backbone[Any], kind: AdapterKind) -> None:
    with torch.no_grad():
        bare = backbone.loss(backbone.query_batch(EPISODES))
    torch.testing.assert_close(losses(backbone, backbone.start(kind, tasks=2), EPISODES), bare, rtol=1e-6, atol=1e-6)
    changed = losses(backbone, noise(backbone.start(kind, tasks=2), 1), EPISODES)
    assert (changed - bare).abs().min() > 1e-4


def test_zero_effect_tensors_leave_the_backbone_unchanged(backbone: Backbone[Any], kind: AdapterKind) -> None:
    weights = noise(backbone.start(kind, tasks=2), 1)
    tensors = {
        path: {name: tensor * (name not in kind.effect) for name, tensor in named.items()}
        for path, named in weights.tensors.items()
    }
    closed = AdapterWeights(kind, weights.backbone, tensors, backbone.readout_start(2))
    with torch.no_grad():
        bare = backbone.loss(backbone.query_batch(EPISODES))
    torch.testing.assert_close(losses(backbone, closed, EPISODES), bare, rtol=1e-6, atol=1e-6)


def test_tasks_do_not_mix(backbone: Backbone[Any], kind: AdapterKind) -> None:
    start = backbone.start(kind)
    one, two, other = noise(start, 1), noise(start, 2), noise(start, 3)
    together = losses(backbone, stack([one, two]), EPISODES)
    torch.testing.assert_close(together[0], losses(backbone, one, EPISODES[:1])[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together[1], losses(backbone, two, EPISODES[1:])[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(together[0], losses(backbone, stack([one, other]), EPISODES)[0])
    assert not torch.allclose(together[1], losses(backbone, stack([one, other]), EPISODES)[1])


def test_gradient_reaches_every_tensor(backbone: Backbone[Any], kind: AdapterKind) -> None:
    weights = noise(backbone.start(kind, tasks=2), 1).map(lambda leaf: leaf.requires_grad_(True))
    with backbone.adapted(weights, train=True):
        loss = backbone.loss(backbone.query_batch(EPISODES)).sum()
    gradients = torch.autograd.grad(loss, [leaf for _, leaf in weights.named()])
    for (name, _), gradient in zip(weights.named(), gradients, strict=True):
        assert gradient.isfinite().all(), name
        assert gradient.reshape(2, -1).abs().amax(1).gt(0).all(), name


def test_checkpointed_layers_give_the_same_gradients_whatever_is_installed_in_backward(
    backbone: Backbone[Any], kind: AdapterKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = noise(backbone.start(kind, tasks=2), 1).map(lambda leaf: leaf.requires_grad_(True))
    other = noise(backbone.start(kind, tasks=2), 2)
    calls: list[object] = []
    first = next(module for module in backbone.model.modules() if isinstance(module, GradientCheckpointingLayer))
    handle = next(first.children()).register_forward_hook(lambda *_: calls.append(None))

    def gradients() -> list[torch.Tensor]:
        with backbone.adapted(weights, train=True):
            loss = backbone.loss(backbone.query_batch(EPISODES)).sum()
        leaves = [leaf for _, leaf in weights.named()]
        bare = torch.autograd.grad(loss, leaves, retain_graph=True)
        with backbone.adapted(other):
            return [*bare, *torch.autograd.grad(loss, leaves)]

    before = [{name: id(value) for name, value in vars(module).items()} for module in backbone.model.modules()]
    expected, once = gradients(), len(calls)
    monkeypatch.setattr(backbone, "gradient_checkpointing", True)
    for made, plain in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(made, plain, rtol=1e-4, atol=1e-6)
    assert len(calls) >= 2 * once + 2  # computed again for each gradient
    assert [{n: id(v) for n, v in vars(module).items()} for module in backbone.model.modules()] == before
    handle.remove()


def test_the_start_can_be_trained_from(backbone: Backbone[Any], kind: AdapterKind) -> None:
    start = backbone.start(kind, tasks=2)
    settings = FinetuneSettings(steps=6, lr=1e-2)
    tuned = finetune(backbone, start, EPISODES, settings)
    with torch.no_grad():
        batch = backbone.support_batch(EPISODES)
        with backbone.adapted(start):
            before = backbone.loss(batch)
        with backbone.adapted(tuned):
            after = backbone.loss(batch)
    assert (after < before).all()
    moved = dict(tuned.named())
    for name, leaf in start.named():
        assert not torch.equal(moved[name], leaf), name


def test_nothing_is_left_installed_also_after_an_error(backbone: Backbone[Any], kind: AdapterKind) -> None:
    classes = [type(module) for module in backbone.model.modules()]
    before = [{name: id(value) for name, value in vars(module).items()} for module in backbone.model.modules()]
    with torch.no_grad():
        bare = backbone.loss(backbone.query_batch(EPISODES))
    weights = noise(backbone.start(kind, tasks=2), 1)
    last = max(weights.tensors)
    cut = {name: tensor[..., :-1] for name, tensor in weights.tensors[last].items()}
    bad = replace(weights, tensors={**weights.tensors, last: cut})
    with pytest.raises((RuntimeError, ValueError)), backbone.adapted(bad):
        backbone.loss(backbone.query_batch(EPISODES))
    assert [type(module) for module in backbone.model.modules()] == classes
    assert [{n: id(v) for n, v in vars(module).items()} for module in backbone.model.modules()] == before
    with torch.no_grad():
        assert torch.equal(backbone.loss(backbone.query_batch(EPISODES)), bare)


def test_predictions_do_not_depend_on_company(backbone: Backbone[Any], kind: AdapterKind) -> None:
    weights = noise(backbone.start(kind, tasks=2), 4)
    with backbone.adapted(weights):
        together = backbone.probabilities(EPISODES)
    for index, episode in enumerate(EPISODES):
        with backbone.adapted(weights[index]):
            alone = backbone.probabilities([episode])[0]
        torch.testing.assert_close(together[index], alone, rtol=1e-4, atol=1e-5)


def test_a_file_brings_the_same_weights_back(backbone: Backbone[Any], kind: AdapterKind, tmp_path: Path) -> None:
    weights = noise(backbone.start(kind, tasks=2), 1)
    save_weights(weights, tmp_path / "a.safetensors")
    loaded = load_weights(tmp_path / "a.safetensors")
    assert loaded.adapter == kind
    names, others = dict(weights.named()), dict(loaded.named())
    assert names.keys() == others.keys()
    assert all(torch.equal(names[name], others[name]) for name in names)
    assert torch.equal(losses(backbone, loaded, EPISODES), losses(backbone, weights, EPISODES))


@pytest.mark.parametrize("head", ["large", "shared", "per_rank"])
def test_a_hypernetwork_makes_it(backbone: Backbone[Any], kind: AdapterKind, head: str) -> None:
    torch.manual_seed(0)
    targets, readout = backbone.targets(kind), backbone.readout_defaults()
    hypernetwork = Hypernetwork(kind, targets, backbone.identity, readout, d_task=6, head=head, d_hidden=8)
    z = torch.randn(2, 6)
    with torch.no_grad():
        bare = backbone.loss(backbone.query_batch(EPISODES))
    torch.testing.assert_close(losses(backbone, hypernetwork(z), EPISODES), bare, rtol=1e-6, atol=1e-6)
    made = wake(hypernetwork)(z)
    fresh = backbone.start(kind, tasks=2)
    assert {name: leaf.shape for name, leaf in made.named()} == {name: leaf.shape for name, leaf in fresh.named()}
    with backbone.adapted(made):
        backbone.loss(backbone.query_batch(EPISODES)).sum().backward()
    for name, parameter in hypernetwork.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_count_is_the_number_of_tensor_entries(backbone: Backbone[Any], kind: AdapterKind) -> None:
    weights = backbone.start(kind)
    assert sum(map(kind.count, backbone.targets(kind))) == weights.count - len(weights.readout)


def test_bf16_weights_and_activations_go_together(kind: AdapterKind, models: dict[str, CausalLm]) -> None:
    backbone, exact = models["bf16"], models["llama"]
    weights = noise(backbone.start(kind, tasks=2), 1, size=0.05)
    reference = AdapterWeights(kind, exact.identity, weights.tensors, weights.readout)
    torch.testing.assert_close(
        losses(backbone, weights, EPISODES), losses(exact, reference, EPISODES), rtol=0.03, atol=0.03
    )


def test_a_prompt_beyond_a_sliding_window_is_named(tmp_path: Path) -> None:
    """The cache drops its first entries there, which are the virtual tokens of the plain form; a gated one goes on."""
    folder = save_family("mistral", tmp_path / "mistral", character_tokenizer())
    mistral = CausalLm(str(folder), dtype="float32", max_tokens=64)
    ids = torch.randint(6, 60, (1, 12), generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with mistral.adapted(noise(mistral.start(KINDS["prompt"]), 1)):
        mistral.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
    with mistral.adapted(noise(mistral.start(Prompt(tokens=3, gated=False)), 1)):
        mistral.model.generate(input_ids=ids[:, :8], attention_mask=torch.ones_like(ids[:, :8]), **options)
        with pytest.raises(
            ValueError, match="17 tokens, virtual ones included, are more than the sliding window of 16"
        ):
            mistral.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
