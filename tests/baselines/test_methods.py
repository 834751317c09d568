"""The contract of every method in the table, on each sort of backbone that it suits."""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import awake, color_episode, size_episode

from hyperpeft.adaptation import FinetuneSettings
from hyperpeft.baselines import METHODS, Adaptation, Answers, Materials, Method
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode, Example, Task

# what is learned from more than the episode may know which inputs are asked: it leaves them out
SEES_QUERY_INPUTS = {"task oracle"}
BACKBONES = {
    "encoder": {"kind": "encoder", "dtype": "float32", "max_tokens": 64},
    "causal_lm": {"kind": "causal_lm", "dtype": "float32", "max_tokens": 200, "max_new_tokens": 4},
}
FOLDERS = {"encoder": "bert", "causal_lm": "llama"}
SETTINGS = FinetuneSettings(lr=3e-3)
EPISODES = [
    color_episode(descriptions=("Say which colour the thing has.", "Name the colour of the thing.")),
    size_episode(),
    color_episode(task="fruit", descriptions=("Is it a fruit or a berry?", "Tell fruit from berries.")),
]


def task_of(episode: Episode, family: str) -> Task:
    extra = tuple(Example(f"another {label} {number}", label) for label in episode.labels for number in range(4))
    return Task(
        name=episode.task,
        descriptions=episode.descriptions,
        examples=(*episode.support, *episode.query, *extra),
        labels=dict.fromkeys(episode.labels, ""),
        family=family,
        metric=episode.metric,
    )


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def materials(
    request: pytest.FixtureRequest, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Materials:
    sections = {
        "backbone": {"model": str(folders[FOLDERS[request.param]]), **BACKBONES[request.param]},
        "adapter": {"kind": "lora", "rank": 2},
        "text_encoder": {"model": str(folders["bert"]), "cache": ""},
        "encoder": {"kind": "joint", "d_task": 16},
    }
    generator = awake(Generator.build({**sections, "hypernetwork": {"head": "per_rank", "d_hidden": 8}}))

    @cache
    def learned(name: str) -> Generator:
        made = awake(Generator.build({**sections, "hypernetwork": {"head": "none"}}, generator.backbone))
        made.about = {"run": {"objective": {"kind": "maml", "steps": 2, "lr": 0.1, "first_order": True}}}
        return made

    return Materials(
        generator=generator,
        train=[task_of(replace(episode, task=f"train {n}"), str(n)) for n, episode in enumerate(EPISODES * 2)],
        measured={episode.task: task_of(episode, "measured") for episode in EPISODES},
        learned=learned,
        folder=tmp_path_factory.mktemp("learned"),
    )


@pytest.fixture(scope="module", params=list(METHODS))
def method(request: pytest.FixtureRequest, materials: Materials) -> Method:
    made = METHODS[request.param](materials)
    for package in made.requires:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if not made.suits(materials.generator.backbone):
        pytest.skip("another backbone is needed")
    return made


@pytest.fixture(scope="module")
def adapt(method: Method, materials: Materials) -> Callable[[Sequence[Episode]], Adaptation]:
    return lambda episodes: method.adapt(materials.generator.backbone, list(episodes))


@pytest.fixture(scope="module")
def adaptation(adapt: Callable[..., Adaptation]) -> Adaptation:
    """To all episodes, as the benchmark asks for it."""
    return adapt(blank(EPISODES))


@pytest.fixture
def trained(method: Method, adaptation: Adaptation) -> Callable[[list[int]], Iterator[Adaptation]]:
    if not method.trainable:
        pytest.skip("not fine-tuned")
    return lambda steps: adaptation.trained(steps, SETTINGS)


def blank(episodes: Sequence[Episode]) -> list[Episode]:
    return [e.with_query([Example(example.input, "") for example in e.query]) for e in episodes]


def assert_same(one: Sequence[Answers], two: Sequence[Answers], **tolerance: float) -> None:
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a.probabilities, b.probabilities, **tolerance)
        assert tolerance or a.texts == b.texts


def snapshot(generator: Generator) -> tuple[Any, ...]:
    model = generator.backbone.model
    modules = [(name, type(module), module.training, sorted(vars(module))) for name, module in model.named_modules()]
    return generator.backbone.identity, modules, sorted(vars(generator.backbone)), copy.deepcopy(model.state_dict())


# ---- answers


def test_one_answer_an_episode_with_an_output_for_each_query(adaptation: Adaptation) -> None:
    answers = adaptation.answers()
    assert adaptation.parameters >= 0
    assert len(answers) == len(EPISODES)
    for episode, answer in zip(EPISODES, answers, strict=True):
        probabilities = answer.probabilities
        assert probabilities is not None
        assert probabilities.shape == (len(episode.query), len(episode.labels))
        assert not probabilities.requires_grad
        torch.testing.assert_close(probabilities.sum(1).double(), torch.ones(len(episode.query)).double())
        assert list(answer.texts) == [episode.labels[index] for index in probabilities.argmax(1).tolist()]


def test_the_same_answers_each_time_and_the_random_state_stays(
    adaptation: Adaptation, adapt: Callable[..., Adaptation]
) -> None:
    torch.rand(3), np.random.rand(3), random.random()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert_same(adapt(blank(EPISODES)).answers(), adaptation.answers())
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_query_outputs_are_not_looked_at(adaptation: Adaptation, adapt: Callable[..., Adaptation]) -> None:
    turned = [e.with_query([Example(example.input, e.labels[0]) for example in e.query]) for e in EPISODES]
    assert_same(adapt(turned).answers(), adaptation.answers())


def test_a_query_is_answered_the_same_whatever_its_company(
    method: Method, adaptation: Adaptation, adapt: Callable[..., Adaptation]
) -> None:
    if method.name in SEES_QUERY_INPUTS:
        pytest.skip("the inputs that are asked are left out of what it learns from")
    firsts = adapt([episode.with_query(episode.query[:1]) for episode in blank(EPISODES)]).answers()
    whole = [Answers(answer.texts[:1], answer.probabilities[:1]) for answer in adaptation.answers()]
    assert_same(firsts, whole, rtol=1e-3, atol=1e-4)


def test_support_is_needed_where_the_method_says_so_and_only_there(
    method: Method, adapt: Callable[..., Adaptation]
) -> None:
    bare = [replace(episode, support=()) for episode in blank(EPISODES)]
    if method.needs_support:
        with pytest.raises(ValueError, match=r"support|examples"):
            adapt(bare)
    else:
        assert [len(answer.texts) for answer in adapt(bare).answers()] == [len(e.query) for e in EPISODES]


def test_free_text_has_no_probabilities(materials: Materials, adapt: Callable[..., Adaptation]) -> None:
    if materials.generator.backbone.classifies:
        pytest.skip("this backbone can only choose among labels")
    answers = adapt([replace(episode, labels=()) for episode in blank(EPISODES)]).answers()
    assert [len(answer.texts) for answer in answers] == [len(e.query) for e in EPISODES]
    assert all(answer.probabilities is None for answer in answers)


# ---- fine-tuning


def test_steps_along_one_run_equal_separate_runs(
    adaptation: Adaptation, trained: Callable[[list[int]], Iterator[Adaptation]]
) -> None:
    start = adaptation.answers()
    along = trained([1, 3])
    assert_same(next(along).answers(), next(trained([1])).answers())
    third = next(along)
    assert_same(third.answers(), next(trained([3])).answers())
    assert third.parameters == adaptation.parameters
    assert next(along, None) is None
    assert_same(adaptation.answers(), start)


def test_no_step_changes_nothing_and_steps_fit_the_support(method: Method, adapt: Callable[..., Adaptation]) -> None:
    if not method.trainable:
        pytest.skip("not fine-tuned")
    adaptation = adapt([episode.with_query(episode.support) for episode in EPISODES])
    none, tuned = (step.answers() for step in adaptation.trained([0, 20], SETTINGS))
    assert_same(none, adaptation.answers())
    for episode, before, after in zip(EPISODES, none, tuned, strict=True):
        right = [(row, episode.labels.index(example.output)) for row, example in enumerate(episode.support)]
        gains = [after.probabilities[place].log() - before.probabilities[place].log() for place in right]
        assert sum(gains) > 0, episode.task


def test_the_backbone_is_left_as_it_was(method: Method, materials: Materials, adapt: Callable[..., Adaptation]) -> None:
    before = snapshot(materials.generator)
    adaptation = adapt(blank(EPISODES))
    adaptation.answers()
    if method.trainable:
        [tuned.answers() for tuned in adaptation.trained([1, 2], SETTINGS)]
    after = snapshot(materials.generator)
    assert after[:3] == before[:3]
    assert before[3].keys() == after[3].keys()
    assert all(torch.equal(value, after[3][name]) for name, value in before[3].items())
    parameters = list(materials.generator.backbone.model.parameters())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in parameters)


# ---- the table


def test_a_method_is_named_as_in_the_table(materials: Materials) -> None:
    assert all(make(materials).name == name for name, make in METHODS.items())


def test_which_methods_suit_which_backbone(materials: Materials) -> None:
    backbone = materials.generator.backbone
    unsuited = {name for name, make in METHODS.items() if not make(materials).suits(backbone)}
    prompts = {"description in the prompt", "in-context demonstrations"}
    heads = {"nearest prototype", "logistic regression", "ridge on all layers", "linear probe", "SetFit"}
    assert unsuited == (prompts if backbone.classifies else heads)
    for name in sorted(unsuited):
        with pytest.raises(ValueError, match=r"take a|text encoder"):
            METHODS[name](materials).adapt(backbone, blank(EPISODES))
