"""The contract of every method, and what each conditioning tells the generator."""

from collections.abc import Callable
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
METHODS: dict[str, Callable[[Generator], Method]] = {
    "no adapter": lambda generator: ZeroShot(generator.hypernetwork.adapter),
    "from scratch": lambda generator: Scratch(generator.hypernetwork.adapter),
    "shared": Multitask,
    **{f"generated, {name}": lambda generator, name=name: Generated(generator, name) for name in CONDITIONINGS},
}


@pytest.fixture(params=sorted(METHODS))
def method(request: pytest.FixtureRequest, generator: Generator) -> Method:
    return METHODS[request.param](generator)


def bare_and_adapted(backbone: Backbone[Any], weights: AdapterWeights) -> tuple[torch.Tensor, torch.Tensor]:
    batch = backbone.query_batch(EPISODES)
    with torch.no_grad():
        bare = backbone.loss(batch)
        with backbone.adapted(weights):
            return bare, backbone.loss(batch)


def same(one: AdapterWeights, two: AdapterWeights) -> bool:
    return all(torch.equal(leaf, value) for (_, leaf), (_, value) in zip(one.named(), two.named(), strict=True))


def test_one_start_a_task_that_the_backbone_takes(method: Method, generator: Generator) -> None:
    backbone = generator.backbone
    for episodes in (EPISODES, EPISODES[:2]):
        weights = method.adapt(backbone, episodes)
        assert weights.tasks == len(episodes)
        assert not any(leaf.requires_grad for _, leaf in weights.named())
        with backbone.adapted(weights):
            assert [len(texts) for texts in backbone.predict(episodes)] == [len(e.query) for e in episodes]


def test_the_same_start_each_time(method: Method, generator: Generator) -> None:
    first = method.adapt(generator.backbone, EPISODES)
    torch.rand(3)
    assert same(method.adapt(generator.backbone, EPISODES), first)


def test_the_query_is_not_seen(method: Method, generator: Generator) -> None:
    hidden = [episode.with_query(()) for episode in EPISODES]
    assert same(method.adapt(generator.backbone, hidden), method.adapt(generator.backbone, EPISODES))


def test_names_are_distinct_and_steps_positive(generator: Generator) -> None:
    methods = [make(generator) for make in METHODS.values()]
    assert len({method.name for method in methods}) == len(methods)
    assert all(method.lr > 0 for method in methods)
    assert [method.name for method in methods if method.trainable] == [
        "from scratch", "shared multi-task adapter", "generated"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["no adapter", "from scratch"])
def test_baselines_without_training_start_from_the_bare_backbone(generator: Generator, name: str) -> None:
    bare, adapted = bare_and_adapted(generator.backbone, METHODS[name](generator).adapt(generator.backbone, EPISODES))
    assert torch.equal(bare, adapted)


def test_the_shared_adapter_is_what_the_generator_adds_to(generator: Generator) -> None:
    shared = Multitask(generator).adapt(generator.backbone, EPISODES)
    assert same(shared[0], shared[3])
    bare, adapted = bare_and_adapted(generator.backbone, shared)
    assert not torch.allclose(bare, adapted)
    assert not same(shared, Generated(generator).adapt(generator.backbone, EPISODES))


def test_seeds_give_other_scratch_starts(generator: Generator) -> None:
    adapter = generator.hypernetwork.adapter
    one, two = (Scratch(adapter, seed=seed).adapt(generator.backbone, EPISODES) for seed in (0, 1))
    assert not same(one, two)


def test_each_conditioning_generates_its_own(generator: Generator) -> None:
    made = {name: Generated(generator, name).adapt(generator.backbone, EPISODES) for name in CONDITIONINGS}
    for name, weights in made.items():
        assert same(weights, generator.generate(CONDITIONINGS[name](EPISODES)))
        assert [other for other in made if same(weights, made[other])] == [name]


def test_head_none_cannot_tell_conditionings_apart(generator_settings: dict[str, dict[str, Any]]) -> None:
    """The control of the controls: where nothing is generated, every description does the same."""
    generator_settings["hypernetwork"]["head"] = "none"
    generator = awake(Generator.build(generator_settings))
    made = [Generated(generator, name).adapt(generator.backbone, EPISODES) for name in CONDITIONINGS]
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
