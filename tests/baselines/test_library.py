"""Adapters of the meta-train tasks: made once, kept, and used as average, nearest, mixture; and the task oracle."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import color_episode, size_episode

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.baselines import Average, Materials, Mixture, Nearest, Oracle
from hyperpeft.baselines.library import LibrarySettings, _episode, train_library
from hyperpeft.baselines.mixture import MixtureSettings
from hyperpeft.baselines.oracle import OracleSettings
from hyperpeft.config import ConfigError
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode, Example, Task
from hyperpeft.weights import AdapterWeights

SETTINGS = LibrarySettings(examples=2, labels=2, steps=4, lr=1e-2, rows=4, tasks=2)
WORDS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen")


def make_task(name: str, labels: tuple[str, ...] = ("yes", "no")) -> Task:
    examples = tuple(Example(f"{word} {name}", labels[n % len(labels)]) for n, word in enumerate(WORDS))
    return Task(name, (f"Is it {name}?",), examples, dict.fromkeys(labels, ""), family=name, metric="accuracy")


TASKS = [make_task("tall"), make_task("fast", ("a", "b", "c")), make_task("blue"), make_task("old"), make_task("wet")]


@pytest.fixture
def materials(generator: Generator, tmp_path: Path) -> Materials:
    return Materials(generator, TASKS, {task.name: task for task in TASKS}, lambda name: generator, tmp_path, seed=3)


def pairs(one: AdapterWeights, two: AdapterWeights) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The tensors of one name; a read file may hold them in another order."""
    other = dict(two.named())
    assert [name for name, _ in one.named() if name not in other] == []
    return [(leaf, other[name]) for name, leaf in one.named()]


def same(one: AdapterWeights, two: AdapterWeights) -> bool:
    return all(torch.equal(leaf, value) for leaf, value in pairs(one, two))


def close(one: AdapterWeights, two: AdapterWeights) -> bool:
    return all(torch.allclose(leaf, value, rtol=1e-4, atol=1e-5) for leaf, value in pairs(one, two))


def distance(one: AdapterWeights, two: AdapterWeights) -> float:
    return sum(float((leaf - value).square().sum()) for leaf, value in pairs(one, two))


# ---- the library


def test_each_adapter_is_the_common_fine_tune_of_a_fresh_one(materials: Materials) -> None:
    made, backbone = train_library(materials, SETTINGS), materials.generator.backbone
    assert made.adapters.tasks == len(made.tasks) == 5
    assert {task.name for task in made.tasks} == {task.name for task in TASKS}
    tuning = FinetuneSettings(SETTINGS.steps, SETTINGS.lr, rows=SETTINGS.rows, seed=3)
    start = backbone.start(materials.generator.hypernetwork.adapter, seed=3)
    assert same(made.start, start)
    for index, task in enumerate(made.tasks):
        alone = finetune(backbone, start, [_episode(task, SETTINGS, 3)], tuning)
        assert close(made.adapters[index], alone)
        assert not close(made.adapters[index], start)


def test_examples_and_labels_are_limited_evenly() -> None:
    episode = _episode(make_task("fast", ("a", "b", "c")), SETTINGS, 0)
    outputs = [example.output for example in episode.support]
    assert len(episode.labels) == 2
    assert {label: outputs.count(label) for label in episode.labels} == dict.fromkeys(episode.labels, 2)
    assert _episode(make_task("free", ("x",)), replace(SETTINGS, examples=3), 0).labels == ("x",)
    free = Task("free", ("Do it.",), tuple(Example(word, word.upper()) for word in WORDS))
    assert len(_episode(free, SETTINGS, 0).support) == 2


def test_an_interrupted_library_goes_on_where_it_was(materials: Materials, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_library(replace(materials, folder=materials.folder / "whole"), SETTINGS)
    trained: list[int] = []

    def counted(backbone: Any, weights: AdapterWeights, episodes: list[Episode], settings: Any) -> AdapterWeights:
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(len(episodes))
        return finetune(backbone, weights, episodes, settings)

    with monkeypatch.context() as patched:
        patched.setattr("hyperpeft.baselines.library.finetune", counted)
        with pytest.raises(KeyboardInterrupt):
            train_library(materials, SETTINGS)
    assert trained == [2]
    trained.insert(0, 0)
    monkeypatch.setattr(
        "hyperpeft.baselines.library.finetune", lambda *given: trained.append(len(given[2])) or finetune(*given)
    )
    assert same(train_library(materials, SETTINGS).adapters, whole.adapters)
    assert trained == [0, 2, 2, 1]
    train_library(materials, SETTINGS)
    assert trained == [0, 2, 2, 1]


def test_a_library_of_other_settings_or_tasks_is_refused(materials: Materials) -> None:
    train_library(materials, SETTINGS)
    with pytest.raises(ConfigError, match=r"made with other settings\. Remove"):
        train_library(materials, replace(SETTINGS, steps=5))
    with pytest.raises(ConfigError, match=r"made with other tasks\. Remove"):
        train_library(replace(materials, train=TASKS[:3]), SETTINGS)
    facts = json.loads((materials.folder / "library" / "library.json").read_text())
    assert sorted(facts["tasks"]) == sorted(task.name for task in TASKS)


def test_the_nearest_task_is_the_one_described_so(materials: Materials) -> None:
    made = train_library(materials, SETTINGS)
    for index, task in enumerate(made.tasks):
        episode = color_episode(descriptions=task.descriptions)
        found = made.nearest([episode], 3)
        assert found.shape == (1, 3)
        assert found[0, 0] == index
        assert torch.equal(made.nearest([episode.with_query(())], 3), found)
    bare = [color_episode(descriptions=()), color_episode(descriptions=(), support=()), Episode("free")]
    assert made.nearest(bare, 99).shape == (3, 5)


# ---- methods


def test_average_nearest_and_mixture_of_it(materials: Materials) -> None:
    made, backbone = train_library(materials, SETTINGS), materials.generator.backbone
    episodes = [color_episode(descriptions=made.tasks[2].descriptions), size_episode()]
    average = Average(made).adapt(backbone, episodes).weights
    assert all(same(average[index], made.adapters.mean()) for index in range(2))
    nearest = Nearest(made).adapt(backbone, episodes).weights
    assert same(nearest[0], made.adapters[2])
    unlearned = Mixture(made, settings=MixtureSettings(adapters=5, steps=0)).adapt(backbone, episodes).weights
    assert close(unlearned, average)
    alone = Mixture(made, settings=MixtureSettings(adapters=1, steps=0)).adapt(backbone, episodes).weights
    assert close(alone, nearest)


def support_loss(materials: Materials, weights: AdapterWeights, episodes: list[Episode]) -> torch.Tensor:
    backbone = materials.generator.backbone
    with torch.no_grad(), backbone.adapted(weights):
        return backbone.loss(backbone.support_batch(episodes))


def test_the_mixture_is_learned_on_the_support(materials: Materials) -> None:
    made, backbone = train_library(materials, SETTINGS), materials.generator.backbone
    episodes = [color_episode(), size_episode()]
    before, after = (
        support_loss(materials, Mixture(made, settings=settings).adapt(backbone, episodes).weights, episodes)
        for settings in (MixtureSettings(steps=0), MixtureSettings(steps=30, penalty=0.0))
    )
    assert (after < before).all()


def test_a_costly_mixture_is_the_bare_start(materials: Materials) -> None:
    made, backbone = train_library(materials, SETTINGS), materials.generator.backbone
    settings = MixtureSettings(steps=200, penalty=100.0, lr=0.01)
    mixed = Mixture(made, settings=settings).adapt(backbone, [color_episode()]).weights
    far = Average(made).adapt(backbone, [color_episode()]).weights
    assert distance(mixed, made.start) < 0.05 * distance(far, made.start)


# ---- the task oracle


def oracle_episode(task: Task, queries: int, **changes: Any) -> Episode:
    return Episode(
        task.name, task.descriptions, task.examples[:2], task.examples[2 : 2 + queries], tuple(task.labels), **changes
    )


def test_the_oracle_learns_from_all_but_the_query(materials: Materials, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[str]] = {}

    def watched(backbone: Any, weights: AdapterWeights, episodes: list[Episode], settings: Any) -> AdapterWeights:
        seen.update({episode.task: [example.input for example in episode.support] for episode in episodes})
        return finetune(backbone, weights, episodes, settings)

    monkeypatch.setattr("hyperpeft.baselines.oracle.finetune", watched)
    twice = replace(TASKS[0], examples=(*TASKS[0].examples, replace(TASKS[0].examples[2], output="no")))
    tasks: Mapping[str, Task] = {"tall": twice, "blue": TASKS[2]}
    episodes = [oracle_episode(twice, 3), oracle_episode(TASKS[2], 6)]
    settings = OracleSettings(steps=2, rows=4, shown=1)
    made = Oracle(tasks, materials.generator, settings=settings).adapt(materials.generator.backbone, episodes)
    for episode, asked in zip(episodes, made.episodes, strict=True):
        hidden = {example.input for example in episode.query}
        known = {example.input for example in tasks[episode.task].examples} - hidden
        assert set(seen[episode.task]) == known
        assert not hidden & {example.input for example in asked.support}
        assert len(asked.support) == 2
        assert {example.output for example in asked.support} == set(asked.labels)
        assert (asked.query, asked.labels) == (episode.query, episode.labels)


def test_the_oracle_does_not_depend_on_the_support_and_trains_the_shared_start(materials: Materials) -> None:
    backbone, shared = materials.generator.backbone, materials.generator
    episode = oracle_episode(TASKS[0], 3)
    oracle = Oracle(materials.measured, shared, settings=OracleSettings(steps=3, rows=4))
    one, two = (oracle.adapt(backbone, [e]) for e in (episode, replace(episode, support=())))
    assert same(one.weights, two.weights)
    assert one.episodes[0].support == two.episodes[0].support
    untrained = Oracle(materials.measured, shared, settings=OracleSettings(steps=0)).adapt(backbone, [episode])
    assert same(untrained.weights, shared.shared(1))
    assert not same(one.weights, shared.shared(1))


def test_a_task_without_other_data_keeps_the_shared_start(materials: Materials) -> None:
    shared = materials.generator
    whole = replace(oracle_episode(TASKS[2], 8), query=TASKS[2].examples, support=())
    oracle = Oracle(materials.measured, shared, settings=OracleSettings(steps=3, rows=4))
    made = oracle.adapt(shared.backbone, [oracle_episode(TASKS[0], 3), whole])
    assert same(made.weights[1], shared.shared(1))
    assert not same(made.weights[0], shared.shared(1))
    assert same(oracle.adapt(shared.backbone, [whole]).weights, shared.shared(1))
