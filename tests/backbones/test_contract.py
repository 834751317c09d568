"""The contract of every backbone: identity at the start, tasks apart, exactly restored."""

import copy
from typing import Any

import pytest
import torch
from conftest import noise
from families import MIXTURES

from hyperpeft.adapters import Lora
from hyperpeft.backbones import BACKBONES, Backbone
from hyperpeft.backbones.install import _Adapted
from hyperpeft.config import ConfigError, build
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights, stack


def losses(backbone: Backbone[Any], weights: AdapterWeights, episodes: list[Any]) -> torch.Tensor:
    with torch.no_grad(), backbone.adapted(weights):
        return backbone.loss(backbone.query_batch(episodes))


def everything(backbone: Backbone[Any]) -> Lora:
    """All linear modules; of a mixture those outside of the experts."""
    if backbone.model.config.model_type in MIXTURES:
        return Lora(rank=2, targets=["q_proj", "k_proj", "v_proj", "o_proj"])
    return Lora(rank=2, targets=["all-linear"])


def test_fresh_weights_change_nothing(family: Backbone[Any], episodes: list[Episode]) -> None:
    batch = family.query_batch(episodes)
    with torch.no_grad():
        bare = family.loss(batch)
        with family.adapted(family.start(Lora(rank=2), tasks=2)):
            adapted = family.loss(batch)
    assert torch.equal(bare, adapted)


def test_tasks_do_not_mix(family: Backbone[Any], episodes: list[Episode]) -> None:
    start = family.start(Lora(rank=2))
    one, two, other = noise(start, 1), noise(start, 2), noise(start, 3)
    together = losses(family, stack([one, two]), episodes)
    torch.testing.assert_close(together[0], losses(family, one, episodes[:1])[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together[1], losses(family, two, episodes[1:])[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(together[0], losses(family, stack([one, other]), episodes)[0])
    assert not torch.allclose(together[1], losses(family, stack([one, other]), episodes)[1])


def test_gradient_reaches_every_tensor(family: Backbone[Any], episodes: list[Episode]) -> None:
    weights = noise(family.start(Lora(rank=2), tasks=2), 1).map(lambda leaf: leaf.requires_grad_(True))
    with family.adapted(weights):
        loss = family.loss(family.query_batch(episodes)).sum()
    gradients = torch.autograd.grad(loss, [leaf for _, leaf in weights.named()])
    for (name, _), gradient in zip(weights.named(), gradients, strict=True):
        assert gradient.reshape(2, -1).abs().amax(1).gt(0).all(), name


def test_backbone_is_left_as_found_also_after_an_error(family: Backbone[Any], episodes: list[Episode]) -> None:
    before = copy.deepcopy(family.model.state_dict())
    classes = [type(module) for module in family.model.modules()]
    attributes = [set(vars(module)) for module in family.model.modules()]
    weights = noise(family.start(Lora(rank=2), tasks=2), 1)

    def fail() -> None:
        with family.adapted(weights):
            assert any(isinstance(module, _Adapted) for module in family.model.modules())
            family.loss(family.query_batch(episodes))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [type(module) for module in family.model.modules()] == classes
    assert [set(vars(module)) for module in family.model.modules()] == attributes
    after = family.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in family.model.parameters())


def test_one_backbone_holds_one_adapter_at_a_time(family: Backbone[Any], episodes: list[Episode]) -> None:
    weights = family.start(Lora(rank=2))
    with family.adapted(weights), pytest.raises(ValueError, match="adapted already"), family.adapted(weights):
        pass
    with torch.no_grad():
        family.loss(family.query_batch(episodes[:1]))


def test_targets_are_sorted_and_never_the_output_embeddings(family: Backbone[Any], episodes: list[Episode]) -> None:
    every = family.targets(everything(family))
    assert list(every) == sorted(every)
    assert not [target.path for target in every if "lm_head" in target.path]
    chosen = family.targets(Lora())
    assert 0 < len(chosen) < len(every)
    assert {target.depth for target in chosen} == {0, 1, 2}


def test_every_linear_module_of_the_family_is_computed(family: Backbone[Any], episodes: list[Episode]) -> None:
    """No target is a part of the model that the forward leaves out, such as a pooler."""
    weights = noise(family.start(everything(family), tasks=2), 1, size=0.01)
    weights = weights.map(lambda leaf: leaf.requires_grad_(True))
    with family.adapted(weights):
        loss = family.loss(family.query_batch(episodes)).sum()
    gradients = torch.autograd.grad(loss, [leaf for _, leaf in weights.named()], allow_unused=True)
    assert not [name for (name, _), gradient in zip(weights.named(), gradients, strict=True) if gradient is None]


def test_experts_are_named_as_unsupported(family: Backbone[Any]) -> None:
    mixture = family.model.config.model_type in MIXTURES
    for names in (["all-linear"], ["down_proj"]) if mixture else ():
        with pytest.raises(ConfigError, match=r"takes in the experts of this mixture .*'q_proj'.*'v_proj'"):
            family.targets(Lora(targets=names))
    assert not [target.path for target in family.linear_modules() if "experts" in target.path]


def test_unknown_target_name_says_what_exists(family: Backbone[Any], episodes: list[Episode]) -> None:
    name = family.targets(Lora())[0].name
    with pytest.raises(ConfigError, match=f"no linear module ends in '{name}x'.*Did you mean '{name}'"):
        family.targets(Lora(targets=[name + "x"]))


def test_layers_choose_targets_and_an_unknown_one_says_what_exists(
    family: Backbone[Any], episodes: list[Episode]
) -> None:
    assert {target.depth for target in family.targets(Lora(layers=[1, 2]))} == {1, 2}
    with pytest.raises(ConfigError, match=r"there is no layer 7; this backbone has \[0, 1, 2\]"):
        family.targets(Lora(layers=[0, 7]))


def test_weights_of_another_backbone_are_refused(family: Backbone[Any], episodes: list[Episode]) -> None:
    weights = family.start(Lora(rank=2))
    alien = AdapterWeights(weights.adapter, "elsewhere#0123456789", weights.tensors, weights.readout)
    with pytest.raises(ValueError, match="elsewhere#0123456789"), family.adapted(alien):
        pass


def test_predictions_do_not_depend_on_company(family: Backbone[Any], episodes: list[Episode]) -> None:
    weights = noise(family.start(Lora(rank=2), tasks=2), 4)
    with family.adapted(weights):
        together = family.probabilities(episodes)
    for index, episode in enumerate(episodes):
        with family.adapted(weights[index]):
            alone = family.probabilities([episode])[0]
        torch.testing.assert_close(together[index], alone, rtol=1e-4, atol=1e-5)
        assert alone.shape == (len(episode.query), len(episode.labels))
        torch.testing.assert_close(alone.sum(1), torch.ones(len(episode.query)))


def test_query_outputs_are_not_looked_at(family: Backbone[Any], episodes: list[Episode]) -> None:
    hidden = episodes[0].with_query([type(e)(e.input, "green") for e in episodes[0].query])
    assert torch.equal(family.probabilities(episodes[:1])[0], family.probabilities([hidden])[0])
    assert family.predict(episodes[:1]) == family.predict([hidden])


def test_settings_build_an_equal_backbone(family: Backbone[Any], episodes: list[Episode]) -> None:
    twin = build(BACKBONES, family.settings(), name="backbone")
    assert twin.identity == family.identity
    assert torch.equal(twin.probabilities(episodes)[0], family.probabilities(episodes)[0])


def test_the_support_is_scored_apart_from_the_query(family: Backbone[Any], episodes: list[Episode]) -> None:
    other = [episode.with_query(episode.query[:1]) for episode in episodes]
    with torch.no_grad():
        scores = family.score(family.support_batch(episodes))
        assert torch.equal(scores.loss, family.loss(family.support_batch(other)))
    assert scores.loss.isfinite().all()
    assert scores.accuracy.shape == (2,)
