"""Thousands of tasks in a store: small records, the same adapters again, a bounded cache."""

from pathlib import Path

import pytest
import torch
from conftest import awake, color_episode, size_episode

from hyperpeft.generator import Generator
from hyperpeft.store import TaskStore
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path / "cache"))


def episodes(count: int = 6) -> dict[str, Episode]:
    made = {f"task {i}": color_episode(descriptions=(f"Task number {i}.",)) for i in range(count)}
    return made | {"sizes": size_episode()}


def close(one: AdapterWeights, two: AdapterWeights) -> None:
    for (name, leaf), (_, other) in zip(one.named(), two.named(), strict=True):
        torch.testing.assert_close(leaf, other, rtol=1e-4, atol=1e-5, msg=name)


def test_an_adapter_made_again_is_the_generated_one(generator: Generator) -> None:
    tasks = episodes()
    store = TaskStore(generator, capacity=2)
    store.add(tasks)
    assert store.names == list(tasks)
    for name, episode in tasks.items():
        close(store.weights([name]), generator.generate([episode]))
    names = ["sizes", "task 3", "sizes", "task 0"]
    close(store.weights(names), generator.generate([tasks[name] for name in names]))


def test_the_cache_is_bounded_and_forgets_what_was_asked_for_longest_ago(generator: Generator) -> None:
    store = TaskStore(generator, capacity=2)
    store.add(episodes(3))
    for name in ("task 0", "task 1", "task 0", "task 2", "task 0", "task 1"):
        store.weights([name])
    report = store.report()
    assert (report.hits, report.misses) == (2, 4)
    assert report.tasks == len(store) == 4


def test_more_tasks_at_once_than_the_cache_holds(generator: Generator) -> None:
    store = TaskStore(generator, capacity=1)
    store.add(episodes(5))
    assert store.weights(store.names).tasks == 6
    assert store.report().misses == 6


def test_a_task_costs_its_embedding_and_its_name(generator: Generator) -> None:
    store = TaskStore(generator)
    store.add({"äb": color_episode()})
    store.weights(["äb"])
    report = store.report()
    assert report.bytes_per_task == 4 * generator.encoder.d_task + 3
    assert report.bytes_per_adapter == 4 * generator.generate([color_episode()]).count
    assert report.milliseconds_per_regeneration > 0


def test_a_task_of_the_same_name_takes_the_place_of_the_former(generator: Generator) -> None:
    store = TaskStore(generator)
    store.add({"a": color_episode()})
    store.weights(["a"])
    store.add({"a": size_episode()})
    close(store.weights(["a"]), generator.generate([size_episode()]))
    store.remove("a")
    assert "a" not in store
    with pytest.raises(KeyError, match="no task 'a'"):
        store.weights(["a"])


def test_a_file_brings_the_store_back(generator: Generator, tmp_path: Path) -> None:
    store = TaskStore(generator)
    store.add(episodes())
    store.save(tmp_path / "new" / "tasks.safetensors")
    loaded = TaskStore.load(tmp_path / "new" / "tasks.safetensors", generator)
    assert loaded.names == store.names
    (tmp_path / "plain").touch()
    assert (tmp_path / "new" / "tasks.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
    close(loaded.weights(store.names), store.weights(store.names))
    TaskStore(generator).save(tmp_path / "empty.safetensors")
    assert len(TaskStore.load(tmp_path / "empty.safetensors", generator)) == 0


def test_a_store_of_another_generator_or_file_is_refused(
    generator: Generator, generator_settings: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    store = TaskStore(generator)
    store.add(episodes())
    file = tmp_path / "tasks.safetensors"
    store.save(file)
    hypernetwork = {**generator_settings["hypernetwork"], "seed": 9}
    other = awake(Generator.build({**generator_settings, "hypernetwork": hypernetwork}, generator.backbone))
    with pytest.raises(ValueError, match="generator with fingerprint"):
        TaskStore.load(file, other)
    file.write_bytes(b"not a store")
    with pytest.raises(ValueError, match="cannot be read as a task store"):
        TaskStore.load(file, generator)
    with pytest.raises(ValueError, match="capacity is 0"):
        TaskStore(generator, capacity=0)


def test_a_generator_that_reads_labels_keeps_the_episode(
    generator: Generator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Any part beside encoder and hypernetwork makes the record an episode; here one that looks at the support."""

    class Refinement(torch.nn.Module):
        def forward(
            self, backbone: object, weights: AdapterWeights, episodes: list[Episode], shared: AdapterWeights
        ) -> AdapterWeights:
            assert not any(episode.query for episode in episodes)
            return weights * float(len(episodes[0].support))

    monkeypatch.setattr(generator, "refinement", Refinement())
    episode = color_episode(labels=("grün", "red"), support=color_episode().support[1::2])
    store = TaskStore(generator)
    store.add({"a": episode})
    assert not store.keeps_embeddings
    close(store.weights(["a"]), generator.generate([episode.with_query(())]))
    store.save(tmp_path / "tasks.safetensors")
    close(TaskStore.load(tmp_path / "tasks.safetensors", generator).weights(["a"]), store.weights(["a"]))
    assert 100 < store.report().bytes_per_task < 1000


def test_the_generators_mode_is_left_as_it_was(generator: Generator) -> None:
    generator.train()
    store = TaskStore(generator)
    store.add({"a": color_episode()})
    store.weights(["a"])
    assert generator.training
