"""The benchmark: every method on the same draws, scored alike, recorded as it goes."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import noise
from sklearn.metrics import log_loss

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.adapters import Lora
from hyperpeft.backbones import Backbone, Encoder
from hyperpeft.baselines import Method, Scratch, Start, ZeroShot
from hyperpeft.benchmark import EvaluationSettings, cells_of, run_benchmark, too_few
from hyperpeft.episodes import draw_episode
from hyperpeft.records import Record, read_records
from hyperpeft.tasks import Episode, Example, Task

LORA = Lora(rank=2)
SETTINGS = EvaluationSettings(shots=[0, 2], steps=[0, 3], seeds=[0, 1], queries=6)


def make_task(name: str, examples: int = 12, metric: str = "accuracy", **changes: Any) -> Task:
    words = ("apple", "stone", "river", "cloud", "horse", "table", "green", "north", "paper", "glass", "storm", "field")
    labels = ("yes", "no")
    pairs = tuple(Example(f"{words[n % 12]} {name} {n}", labels[n % 2]) for n in range(examples))
    fields: dict[str, Any] = {"labels": dict.fromkeys(labels, ""), "metric": metric, "family": name[0], **changes}
    return Task(name, (f"Is it {name}?",), pairs, **fields)


TASKS = [make_task(name) for name in ("beta", "alpha", "gamma")]


class Watched(Method):
    """A method that remembers what it was asked."""

    def __init__(self, name: str, *, trainable: bool = True, needs_support: bool = False):
        self.name = name
        self.trainable = trainable
        self.needs_support = needs_support
        self.asked: list[list[Episode]] = []
        self.settings: list[FinetuneSettings] = []

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        self.asked.append(list(episodes))
        return WatchedStart(backbone, backbone.start(LORA, tasks=len(episodes)), episodes, used=self.settings)


@dataclass(frozen=True)
class WatchedStart(Start):
    """A start that remembers how it was fine-tuned."""

    used: list[FinetuneSettings] = field(default_factory=list)

    def trained(self, steps: Sequence[int], settings: FinetuneSettings) -> Iterator[Start]:
        self.used.append(settings)
        yield from super().trained(steps, settings)


def cells(records: Sequence[Record]) -> list[tuple[Any, ...]]:
    return [(r.method, r.task, r.shots, r.steps, r.seed) for r in records]


def test_one_record_a_cell(encoder: Encoder) -> None:
    methods = [Watched("tuned"), Watched("fixed", trainable=False)]
    records = run_benchmark(methods, TASKS, encoder, SETTINGS)
    names = [task.name for task in TASKS]
    steps = {("tuned", 0): [0], ("tuned", 2): [0, 3], ("fixed", 0): [0], ("fixed", 2): [0]}
    expected = [
        (method, task, shots, count, seed)
        for (method, shots), counts in steps.items()
        for count in counts
        for task in names
        for seed in (0, 1)
    ]
    assert sorted(cells(records)) == sorted(expected)
    assert all(0 <= record.score <= 1 and record.seconds > 0 for record in records)


def test_a_method_that_needs_support_has_no_cells_without(encoder: Encoder) -> None:
    records = run_benchmark([Watched("shown", needs_support=True)], TASKS, encoder, replace(SETTINGS, seeds=[0]))
    assert {record.shots for record in records} == {2}


def test_all_methods_see_the_same_draws_without_their_answers_and_seeds_differ(encoder: Encoder) -> None:
    one, two = Watched("one"), Watched("two")
    run_benchmark([one, two], TASKS, encoder, SETTINGS)
    assert one.asked == two.asked
    drawn = {episodes[0].query for episodes in one.asked}
    assert len(drawn) == 4
    for episodes in one.asked:
        assert [episode.task for episode in episodes] == ["alpha", "beta", "gamma"]
        for episode in episodes:
            assert len(episode.query) == 6
            assert {example.output for example in episode.query} == {""}
            assert not {example.input for example in episode.query} & {example.input for example in episode.support}


def test_a_score_is_the_metric_of_the_predictions_after_the_fine_tune(encoder: Encoder) -> None:
    tasks = [make_task("alpha"), make_task("beta", metric="macro_f1")]
    settings = replace(SETTINGS, steps=[5], shots=[2], seeds=[1])
    records = run_benchmark([Scratch(LORA)], tasks, encoder, settings, lrs={"from scratch": 3e-3})
    records = [record for record in records if record.steps == 5]
    episodes = [draw_episode(task, shots=2, queries=6, seed=1) for task in tasks]
    tuned = finetune(encoder, encoder.start(LORA, tasks=2), episodes, FinetuneSettings(steps=5, lr=3e-3, seed=1))
    with encoder.adapted(tuned):
        probabilities = encoder.probabilities(episodes)[0].double()
    labels = episodes[0].labels
    outputs = [example.output for example in episodes[0].query]
    right = [labels[place] == output for place, output in zip(probabilities.argmax(1), outputs, strict=True)]
    first = records[0]
    assert [record.metric for record in records] == ["accuracy", "macro_f1"]
    assert first.score == pytest.approx(sum(right) / 6)
    assert 0 < sum(right) < 6
    expected = [labels.index(output) for output in outputs]
    probabilities /= probabilities.sum(1, keepdim=True)  # scikit-learn is stricter than fp32
    assert first.loss == pytest.approx(log_loss(expected, probabilities.numpy(), labels=range(len(labels))), rel=1e-5)
    assert first.confidence == pytest.approx(float(probabilities.max(1).values.mean()), rel=1e-6)
    assert first.bins is not None
    assert sum(row[1] for row in first.bins) == 6
    assert sum(row[2] for row in first.bins) == pytest.approx(6 * first.confidence)
    assert sum(row[3] for row in first.bins) == sum(right)
    assert all(row[0] / 10 <= row[2] / row[1] <= (row[0] + 1) / 10 for row in first.bins)


class Noisy(Method):
    """Another start for each task."""

    name = "noisy"

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        return Start(backbone, noise(backbone.start(LORA, tasks=len(episodes)), 0, 1.0), episodes)


def test_groups_of_tasks_do_not_matter(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def scores() -> dict[tuple[Any, ...], float]:
        records = run_benchmark([Scratch(LORA)], TASKS, encoder, SETTINGS, lrs={"from scratch": 1e-2})
        return dict(zip(cells(records), [record.score for record in records], strict=True))

    together = scores()
    monkeypatch.setattr("hyperpeft.benchmark.groups", lambda episodes: [[episode] for episode in episodes])
    assert scores() == together


def test_each_method_has_its_own_step_size(encoder: Encoder) -> None:
    fast, slow = Watched("fast"), Watched("slow")
    run_benchmark([fast, slow], TASKS, encoder, SETTINGS, lrs={"fast": 0.5})
    for method, lr in ((fast, 0.5), (slow, 1e-3)):
        assert {(used.lr, used.seed) for used in method.settings} == {(lr, 0), (lr, 1)}


# ---- the file


def test_records_read_back_as_they_were(encoder: Encoder, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "records.jsonl"
    records = run_benchmark([Scratch(LORA)], TASKS, encoder, SETTINGS, file=file)
    assert read_records(file) == records
    assert len(file.read_text().splitlines()) == len(records)


class Crashing(Watched):
    """Fails when it is asked for the third time."""

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Start:
        if len(self.asked) == 2:
            raise KeyboardInterrupt
        return super().adapt(backbone, episodes)


def test_an_interrupted_run_goes_on_and_ends_as_a_whole_one(encoder: Encoder, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    methods = [Scratch(LORA), Crashing("fragile")]
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(methods, TASKS, encoder, SETTINGS, file=file)
    before = file.read_text()
    with file.open("a") as stream:
        stream.write(before.splitlines()[0][:40])  # a line cut short
    again = Watched("fragile")
    records = run_benchmark([Scratch(LORA), again], TASKS, encoder, SETTINGS, file=file)
    whole = run_benchmark([Scratch(LORA), Watched("fragile")], TASKS, encoder, SETTINGS)
    assert sorted((cell, r.score) for cell, r in zip(cells(records), records, strict=True)) == sorted(
        (cell, r.score) for cell, r in zip(cells(whole), whole, strict=True)
    )
    assert file.read_text().startswith(before)
    measured_before = {json.loads(line)["method"] for line in before.splitlines()}
    assert measured_before == {"from scratch", "fragile"}


def test_a_new_method_runs_alone(encoder: Encoder, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    old = Watched("old")
    run_benchmark([old], TASKS, encoder, SETTINGS, file=file)
    asked = len(old.asked)
    records = run_benchmark([old, Watched("new")], TASKS, encoder, SETTINGS, file=file)
    assert len(old.asked) == asked
    assert {record.method for record in records} == {"old", "new"}


def test_a_file_of_other_records_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text('{"method": "a", "colour": "blue"}\n')
    with pytest.raises(ValueError, match="other records than this version writes"):
        read_records(file)


# ---- cost


def test_costs_add_up_along_the_fine_tune(encoder: Encoder) -> None:
    settings = EvaluationSettings(shots=[2], steps=[0, 2, 6], seeds=[0], queries=6)
    records = {r.steps: r for r in run_benchmark([Noisy()], TASKS, encoder, settings) if r.task == "alpha"}
    assert records[0].seconds < records[2].seconds < records[6].seconds
    assert records[6].flops - records[0].flops == 3 * (records[2].flops - records[0].flops) > 0
    assert {record.parameters for record in records.values()} == {encoder.start(LORA).count}


def test_work_counts_texts(encoder: Encoder) -> None:
    (cell,) = cells_of([Scratch(LORA)], TASKS, EvaluationSettings([2], [0, 5], [0], queries=6))
    texts = 3 * (4 + 2)  # support and labels
    assert cell.work([0, 5]) == 2 * (texts + 3 * 6) + 3 * 5 * texts


# ---- tasks too small


def test_tasks_too_small_are_left_out_for_all_with_a_counted_warning(
    encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = [*TASKS, make_task("tiny", examples=2), make_task("small", examples=4)]
    methods = [ZeroShot(LORA), Scratch(LORA)]
    with caplog.at_level(logging.WARNING):
        records = run_benchmark(methods, tasks, encoder, replace(SETTINGS, shots=[1, 3], steps=[0], seeds=[0]))
    for method in methods:
        for shots, names in ((1, ["alpha", "beta", "gamma", "small"]), (3, ["alpha", "beta", "gamma"])):
            assert sorted(r.task for r in records if (r.method, r.shots) == (method.name, shots)) == names
    assert "1 tasks have too few examples for 1 shots and are left out: ['tiny']" in caplog.text
    assert "2 tasks have too few examples for 3 shots and are left out: ['small', 'tiny']" in caplog.text
    assert too_few(tasks, replace(SETTINGS, shots=[1, 3])) == {1: ["tiny"], 3: ["small", "tiny"]}


def test_a_method_of_small_supports_alone_is_not_asked_of_larger_ones(
    encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    method = Watched("watched")
    method.most_support = 4
    settings = replace(SETTINGS, shots=[2, 3], steps=[0], seeds=[0])
    with caplog.at_level(logging.WARNING):
        records = run_benchmark([method, ZeroShot(LORA)], TASKS, encoder, settings)
    assert {record.shots for record in records if record.method == "watched"} == {2}
    assert len(records) == 3 * len(TASKS)
    assert caplog.text.count("watched takes 4 examples at most: 3 tasks left out with 3 shots") == 1


def test_shots_that_no_task_has_give_no_records(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    settings = replace(SETTINGS, shots=[100, 2], steps=[0], seeds=[0])
    records = run_benchmark([Scratch(LORA)], TASKS, encoder, settings)
    assert {record.shots for record in records} == {2}
    assert "3 tasks have too few examples for 100 shots" in caplog.text


def test_labels_may_be_codes_that_the_description_explains(encoder: Encoder) -> None:
    method = Watched("watched")
    settings = replace(SETTINGS, labels="codes", shots=[2], steps=[0], seeds=[0])
    records = run_benchmark([method], TASKS, encoder, settings)
    assert len(records) == len(TASKS)
    for episode in (episode for episodes in method.asked for episode in episodes):
        assert not set(episode.labels) & {"yes", "no"}
        assert {example.output for example in episode.support} == set(episode.labels)
        assert all(label in episode.descriptions[0] for label in ("yes", "no"))
        assert all(label in episode.descriptions[0] for label in episode.labels)
