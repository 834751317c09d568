"""The contract of every backbone: identity at the start, tasks apart, exactly restored."""

import copy
from typing import Any

import pytest
import torch
from conftest import color_episode, noise, size_episode

from hyperpeft.adapters import Lora
from hyperpeft.backbones import Backbone
from hyperpeft.backbones.install import _Adapted
from hyperpeft.config import ConfigError
from hyperpeft.weights import AdapterWeights, stack

EPISODES = [color_episode(), size_episode()]


def losses(backbone: Backbone[Any], weights: AdapterWeights, episodes: list[Any]) -> torch.Tensor:
    with torch.no_grad(), backbone.adapted(weights):
        return backbone.loss(backbone.query_batch(episodes))


def test_fresh_weights_change_nothing(backbone: Backbone[Any]) -> None:
    batch = backbone.query_batch(EPISODES)
    with torch.no_grad():
        bare = backbone.loss(batch)
        with backbone.adapted(backbone.start(Lora(rank=2), tasks=2)):
            adapted = backbone.loss(batch)
    assert torch.equal(bare, adapted)


def test_tasks_do_not_mix(backbone: Backbone[Any]) -> None:
    start = backbone.start(Lora(rank=2))
    one, two, other = noise(start, 1), noise(start, 2), noise(start, 3)
    together = losses(backbone, stack([one, two]), EPISODES)
    torch.testing.assert_close(together[0], losses(backbone, one, EPISODES[:1])[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together[1], losses(backbone, two, EPISODES[1:])[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(together[0], losses(backbone, stack([one, other]), EPISODES)[0])
    assert not torch.allclose(together[1], losses(backbone, stack([one, other]), EPISODES)[1])


def test_gradient_reaches_every_tensor(backbone: Backbone[Any]) -> None:
    weights = noise(backbone.start(Lora(rank=2), tasks=2), 1).map(lambda leaf: leaf.requires_grad_(True))
    with backbone.adapted(weights):
        loss = backbone.loss(backbone.query_batch(EPISODES)).sum()
    gradients = torch.autograd.grad(loss, [leaf for _, leaf in weights.named()])
    for (name, _), gradient in zip(weights.named(), gradients, strict=True):
        assert gradient.reshape(2, -1).abs().amax(1).gt(0).all(), name


def test_backbone_is_left_as_found_also_after_an_error(backbone: Backbone[Any]) -> None:
    before = copy.deepcopy(backbone.model.state_dict())
    classes = [type(module) for module in backbone.model.modules()]
    attributes = [set(vars(module)) for module in backbone.model.modules()]
    weights = noise(backbone.start(Lora(rank=2), tasks=2), 1)

    def fail() -> None:
        with backbone.adapted(weights):
            assert any(isinstance(module, _Adapted) for module in backbone.model.modules())
            backbone.loss(backbone.query_batch(EPISODES))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [type(module) for module in backbone.model.modules()] == classes
    assert [set(vars(module)) for module in backbone.model.modules()] == attributes
    after = backbone.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())


def test_one_backbone_holds_one_adapter_at_a_time(backbone: Backbone[Any]) -> None:
    weights = backbone.start(Lora(rank=2))
    with backbone.adapted(weights), pytest.raises(ValueError, match="adapted already"), backbone.adapted(weights):
        pass
    with torch.no_grad():
        backbone.loss(backbone.query_batch(EPISODES[:1]))


def test_targets_are_sorted_and_never_the_output_embeddings(backbone: Backbone[Any]) -> None:
    everything = backbone.targets(Lora(targets=["all-linear"]))
    assert list(everything) == sorted(everything)
    assert not [target.path for target in everything if "lm_head" in target.path]
    chosen = backbone.targets(Lora())
    assert 0 < len(chosen) < len(everything)
    assert {target.depth for target in chosen} == {0, 1, 2}


def test_unknown_target_name_says_what_exists(backbone: Backbone[Any]) -> None:
    name = backbone.targets(Lora())[0].name
    with pytest.raises(ConfigError, match=f"no linear module ends in '{name}x'.*Did you mean '{name}'"):
        backbone.targets(Lora(targets=[name + "x"]))


def test_layers_choose_targets_and_an_unknown_one_says_what_exists(backbone: Backbone[Any]) -> None:
    assert {target.depth for target in backbone.targets(Lora(layers=[1, 2]))} == {1, 2}
    with pytest.raises(ConfigError, match=r"there is no layer 7; this backbone has \[0, 1, 2\]"):
        backbone.targets(Lora(layers=[0, 7]))


def test_weights_of_another_backbone_are_refused(backbone: Backbone[Any]) -> None:
    weights = backbone.start(Lora(rank=2))
    alien = AdapterWeights(weights.adapter, "elsewhere#0123456789", weights.tensors, weights.readout)
    with pytest.raises(ValueError, match="elsewhere#0123456789"), backbone.adapted(alien):
        pass


def test_predictions_do_not_depend_on_company(backbone: Backbone[Any]) -> None:
    weights = noise(backbone.start(Lora(rank=2), tasks=2), 4)
    with backbone.adapted(weights):
        together = backbone.probabilities(EPISODES)
    for index, episode in enumerate(EPISODES):
        with backbone.adapted(weights[index]):
            alone = backbone.probabilities([episode])[0]
        torch.testing.assert_close(together[index], alone, rtol=1e-4, atol=1e-5)
        assert alone.shape == (len(episode.query), len(episode.labels))
        torch.testing.assert_close(alone.sum(1), torch.ones(len(episode.query)))


def test_query_outputs_are_not_looked_at(backbone: Backbone[Any]) -> None:
    hidden = EPISODES[0].with_query([type(e)(e.input, "green") for e in EPISODES[0].query])
    assert torch.equal(backbone.probabilities(EPISODES[:1])[0], backbone.probabilities([hidden])[0])
    assert backbone.predict(EPISODES[:1]) == backbone.predict([hidden])
