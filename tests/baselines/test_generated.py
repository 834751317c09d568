"""Generated starts, their controls, and the starts that they are compared with."""

from typing import Any

import pytest
import torch
from conftest import awake, color_episode, size_episode

from hyperpeft.backbones import Backbone
from hyperpeft.baselines import CONDITIONINGS, Generated, Method, Multitask, Scratch, ZeroShot
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights

EPISODES = [
    color_episode(descriptions=("Say which colour the thing has.", "Name the colour of the thing.")),
    size_episode(),
    color_episode(task="fruit", descriptions=("Is it a fruit or a berry?", "Tell fruit from berries.")),
    size_episode(task="speed", descriptions=("How fast does the animal run?", "Tell its speed.")),
    color_episode(task="taste", descriptions=("Does the thing taste sweet?", "Tell its taste.")),
]


def bare_and_adapted(backbone: Backbone[Any], weights: AdapterWeights) -> tuple[torch.Tensor, torch.Tensor]:
    batch = backbone.query_batch(EPISODES)
    with torch.no_grad():
        bare = backbone.loss(batch)
        with backbone.adapted(weights):
            return bare, backbone.loss(batch)


def same(one: AdapterWeights, two: AdapterWeights) -> bool:
    return all(torch.equal(leaf, value) for (_, leaf), (_, value) in zip(one.named(), two.named(), strict=True))


def weights_of(method: Method, generator: Generator, episodes: list[Episode] = EPISODES) -> AdapterWeights:
    start = method.adapt(generator.backbone, episodes)
    assert start.episodes == episodes  # type: ignore[attr-defined]
    return start.weights  # type: ignore[attr-defined]


def test_the_query_is_not_seen(generator: Generator) -> None:
    hidden = [episode.with_query(()) for episode in EPISODES]
    for name in CONDITIONINGS:
        method = Generated(generator, name)
        assert same(weights_of(method, generator, hidden), weights_of(method, generator))


@pytest.mark.parametrize("kind", [ZeroShot, Scratch])
def test_baselines_without_training_start_from_the_bare_backbone(generator: Generator, kind: Any) -> None:
    weights = weights_of(kind(generator.hypernetwork.adapter), generator)
    bare, adapted = bare_and_adapted(generator.backbone, weights)
    assert torch.equal(bare, adapted)


def test_the_shared_adapter_is_what_the_generator_adds_to(generator: Generator) -> None:
    shared = weights_of(Multitask(generator), generator)
    assert same(shared[0], shared[3])
    bare, adapted = bare_and_adapted(generator.backbone, shared)
    assert not torch.allclose(bare, adapted)
    assert not same(shared, weights_of(Generated(generator), generator))


def test_seeds_give_other_scratch_starts(generator: Generator) -> None:
    adapter = generator.hypernetwork.adapter
    one, two = (weights_of(Scratch(adapter, seed=seed), generator) for seed in (0, 1))
    assert not same(one, two)


def test_only_the_joint_start_is_fine_tuned(generator: Generator) -> None:
    assert [name for name in CONDITIONINGS if Generated(generator, name).trainable] == ["joint"]


def test_each_conditioning_generates_its_own(generator: Generator) -> None:
    made = {name: weights_of(Generated(generator, name), generator) for name in CONDITIONINGS}
    for name, weights in made.items():
        assert same(weights, generator.generate(CONDITIONINGS[name](EPISODES)))
        assert [other for other in made if same(weights, made[other])] == [name]


def test_head_none_cannot_tell_conditionings_apart(generator_settings: dict[str, dict[str, Any]]) -> None:
    """The control of the controls: where nothing is generated, every description does the same."""
    generator_settings["hypernetwork"]["head"] = "none"
    generator = awake(Generator.build(generator_settings))
    made = [weights_of(Generated(generator, name), generator) for name in CONDITIONINGS]
    assert all(same(made[0], weights) for weights in made)


def test_unknown_conditioning_says_what_there_is(generator: Generator) -> None:
    with pytest.raises(ValueError, match=r"no 'gibberish'.*Did you mean 'gibberish description'"):
        Generated(generator, "gibberish")


# ---- conditionings


def words(episode: Episode) -> list[list[str]]:
    return [text.split() for text in episode.descriptions]


@pytest.mark.parametrize("name", sorted(CONDITIONINGS))
def test_only_what_is_told_changes(name: str) -> None:
    told = CONDITIONINGS[name](EPISODES)
    assert told == CONDITIONINGS[name](EPISODES)
    for episode, before in zip(told, EPISODES, strict=True):
        assert (episode.task, episode.labels, episode.query) == (before.task, before.labels, before.query)
        assert episode.support == (() if name == "description only" else before.support)
        assert (episode.descriptions == before.descriptions) == (name in ("joint", "description only"))


@pytest.mark.parametrize("tasks", [2, 3, 4, 5])
def test_wrong_task_gives_each_another_tasks_descriptions(tasks: int) -> None:
    told = CONDITIONINGS["wrong-task description"](EPISODES[:tasks])
    for episode, right in zip(told, EPISODES[:tasks], strict=True):
        assert not set(episode.descriptions) & set(right.descriptions)
    given = [episode.descriptions for episode in told]
    assert sorted(given) == sorted(episode.descriptions for episode in EPISODES[:tasks])


def test_shuffled_has_the_same_words_in_another_order() -> None:
    for episode, right in zip(CONDITIONINGS["shuffled description"](EPISODES), EPISODES, strict=True):
        assert [sorted(text) for text in words(episode)] == [sorted(text) for text in words(right)]
        assert words(episode) != words(right)


def test_gibberish_has_other_words_of_the_same_lengths() -> None:
    for episode, right in zip(CONDITIONINGS["gibberish description"](EPISODES), EPISODES, strict=True):
        for made, text in zip(words(episode), words(right), strict=True):
            assert [len(word) for word in made] == [len(word) for word in text]
            assert sum(a == b for a, b in zip(made, text, strict=True)) <= 1


def test_paraphrased_is_the_last_description_alone() -> None:
    told = CONDITIONINGS["paraphrased"](EPISODES)
    assert [episode.descriptions for episode in told] == [(episode.descriptions[-1],) for episode in EPISODES]


def test_support_only_tells_nothing() -> None:
    assert all(episode.descriptions == () for episode in CONDITIONINGS["support only"](EPISODES))
