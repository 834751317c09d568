"""Methods that start where learn2learn's meta-training led."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch
from conftest import awake, color_episode, size_episode

from hyperpeft.adaptation import inner_loop
from hyperpeft.baselines import Maml, MetaSgd, Multitask, Reptile, Start
from hyperpeft.generator import Generator
from hyperpeft.weights import AdapterWeights

pytestmark = pytest.mark.skipif(find_spec("learn2learn") is None, reason="learn2learn is not installed")
EPISODES = [color_episode(), size_episode()]
TRAINED = {"kind": "maml", "steps": 2, "lr": 0.05, "first_order": True}


@pytest.fixture
def learned(generator_settings: dict[str, dict[str, Any]]) -> Generator:
    generator_settings["hypernetwork"]["head"] = "none"
    made = awake(Generator.build(generator_settings))
    made.about = {"run": {"objective": dict(TRAINED)}}
    return made


def sizes(generator_settings: dict[str, dict[str, Any]], like: Generator, value: float | None) -> Generator:
    """Step sizes in the place of a start: all of one value, or all different."""
    made = Generator.build(generator_settings, like.backbone)
    with torch.no_grad():
        for number, parameter in enumerate(made.hypernetwork.parameters()):
            parameter.fill_(0.01 * number if value is None else value)
    return made


def weights_of(start: Start) -> AdapterWeights:
    assert not any(leaf.requires_grad for _, leaf in start.weights.named())
    return start.weights


def assert_close(one: AdapterWeights, two: AdapterWeights) -> None:
    for (name, leaf), (_, value) in zip(one.named(), two.named(), strict=True):
        torch.testing.assert_close(leaf, value, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_maml_takes_the_steps_it_was_trained_with(learned: Generator) -> None:
    got = weights_of(Maml(learned).adapt(learned.backbone, EPISODES))
    assert_close(got, inner_loop(learned.backbone, learned.shared(2), EPISODES, [0.05] * 2).detach())


def test_meta_sgd_with_equal_step_sizes_does_what_maml_does(
    learned: Generator, generator_settings: dict[str, dict[str, Any]]
) -> None:
    one = MetaSgd(learned, sizes(generator_settings, learned, 0.05)).adapt(learned.backbone, EPISODES)
    assert_close(weights_of(one), weights_of(Maml(learned).adapt(learned.backbone, EPISODES)))


def test_meta_sgd_moves_each_number_by_its_own_step_size(
    learned: Generator, generator_settings: dict[str, dict[str, Any]]
) -> None:
    learned.about["run"]["objective"]["steps"] = 1
    step_sizes, start = sizes(generator_settings, learned, None), learned.shared(2)
    leaves = start.map(lambda leaf: leaf.clone().requires_grad_(True))
    with learned.backbone.adapted(leaves):
        loss = learned.backbone.loss(learned.backbone.support_batch(EPISODES)).sum()
    gradient = iter(torch.autograd.grad(loss, [leaf for _, leaf in leaves.named()]))
    expected = start.zip(step_sizes.shared(2), lambda leaf, size: leaf - size * next(gradient))
    assert_close(weights_of(MetaSgd(learned, step_sizes).adapt(learned.backbone, EPISODES)), expected)


def test_without_support_they_are_the_start(learned: Generator, generator_settings: dict[str, dict[str, Any]]) -> None:
    bare = [color_episode(support=()), size_episode()]
    for method in (Maml(learned), MetaSgd(learned, sizes(generator_settings, learned, 0.05))):
        got = weights_of(method.adapt(learned.backbone, bare))
        assert_close(got[0], learned.shared(1))
        assert any(
            not torch.equal(leaf, start)
            for (_, leaf), (_, start) in zip(got[1].named(), learned.shared(1).named(), strict=True)
        )


def test_reptile_proposes_its_start(learned: Generator) -> None:
    one, two = Reptile(learned), Multitask(learned)
    assert_close(weights_of(one.adapt(learned.backbone, EPISODES)), weights_of(two.adapt(learned.backbone, EPISODES)))


@pytest.mark.parametrize("about", [{}, {"run": {"objective": {"kind": "sft"}}}])
def test_a_start_of_another_training_is_refused(learned: Generator, about: dict[str, Any]) -> None:
    learned.about = about
    for make in (Maml, lambda generator: MetaSgd(generator, generator)):
        with pytest.raises(ValueError, match=r"meta-trained by .* no inner loop"):
            make(learned)
