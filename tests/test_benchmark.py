"""The benchmark: every method on the same draws, scored alike; and the intervals of its report."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import noise
from scipy.stats import bootstrap, sem

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.adapters import Lora
from hyperpeft.backbones import Backbone, Encoder
from hyperpeft.baselines import Method, Scratch, ZeroShot
from hyperpeft.benchmark import EvaluationSettings, Record, run_benchmark
from hyperpeft.episodes import draw_episode
from hyperpeft.report import by_task, difference, interval, score_table
from hyperpeft.tasks import Episode, Example, Task
from hyperpeft.weights import AdapterWeights

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

    def __init__(self, name: str, *, trainable: bool = True, lr: float = 1e-3):
        self.name = name
        self.trainable = trainable
        self.lr = lr
        self.asked: list[list[Episode]] = []

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> AdapterWeights:
        self.asked.append(list(episodes))
        return backbone.start(LORA, tasks=len(episodes))


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


def test_all_methods_see_the_same_draws_and_seeds_differ(encoder: Encoder) -> None:
    one, two = Watched("one"), Watched("two")
    run_benchmark([one, two], TASKS, encoder, SETTINGS)
    assert one.asked == two.asked
    assert len(one.asked) == 4
    for episodes in one.asked:
        assert [episode.task for episode in episodes] == ["alpha", "beta", "gamma"]
    drawn = [episodes[0].query for episodes in one.asked]
    assert len(set(drawn)) == 4
    assert all(len(query) == 6 for query in drawn)


def test_a_score_is_the_metric_of_the_predictions_after_the_fine_tune(encoder: Encoder) -> None:
    tasks = [make_task("alpha"), make_task("beta", metric="macro_f1")]
    records = run_benchmark([Scratch(LORA)], tasks, encoder, replace(SETTINGS, steps=[5], shots=[2], seeds=[1]))
    episodes = [draw_episode(task, shots=2, queries=6, seed=1) for task in tasks]
    start = encoder.start(LORA, tasks=2)
    tuned = finetune(encoder, start, episodes, FinetuneSettings(steps=5, lr=Scratch.lr, seed=1))
    with encoder.adapted(tuned):
        predicted = encoder.predict(episodes)
    right = [p == q.output for p, q in zip(predicted[0], episodes[0].query, strict=True)]
    assert [record.metric for record in records] == ["accuracy", "macro_f1"]
    assert records[0].score == pytest.approx(sum(right) / 6)
    assert 0 < sum(right) < 6


class Noisy(Method):
    """Another start for each task."""

    name = "noisy"

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> AdapterWeights:
        return noise(backbone.start(LORA, tasks=len(episodes)), 0, 1.0)


def test_groups_of_tasks_do_not_matter(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def scores() -> dict[tuple[Any, ...], float]:
        records = run_benchmark([Noisy()], TASKS, encoder, SETTINGS)
        return dict(zip(cells(records), [record.score for record in records], strict=True))

    together = scores()
    monkeypatch.setattr("hyperpeft.benchmark.GROUP", 1)
    assert scores() == together


def test_the_methods_own_step_size_is_used(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[FinetuneSettings] = []

    def spy(backbone: Any, weights: AdapterWeights, episodes: Any, settings: FinetuneSettings) -> AdapterWeights:
        used.append(settings)
        return weights

    monkeypatch.setattr("hyperpeft.benchmark.finetune", spy)
    run_benchmark([Watched("fast", lr=0.5), Watched("slow", lr=0.1)], TASKS, encoder, SETTINGS)
    assert [(settings.lr, settings.steps, settings.seed) for settings in used] == [
        (0.5, 3, 0), (0.1, 3, 0), (0.5, 3, 1), (0.1, 3, 1)
    ]  # fmt: skip


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


def test_shots_that_no_task_has_give_no_records(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    settings = replace(SETTINGS, shots=[100, 2], steps=[0], seeds=[0])
    records = run_benchmark([Scratch(LORA)], TASKS, encoder, settings)
    assert {record.shots for record in records} == {2}
    assert "3 tasks have too few examples for 100 shots" in caplog.text


# ---- report


def record(method: str, task: str, score: float, seed: int = 0, shots: int = 4, steps: int = 0) -> Record:
    return Record(method, task, shots, steps, seed, "accuracy", score, 0.1)


def test_seeds_are_averaged_within_a_task() -> None:
    records = [
        record("a", "t", 0.2, seed=0),
        record("a", "t", 0.6, seed=1),
        record("a", "u", 1.0),
        record("b", "t", 0.0),
    ]
    records.append(record("a", "t", 0.9, steps=20))
    assert by_task(records, "a", (4, 0)) == {"t": pytest.approx(0.4), "u": 1.0}


def test_an_interval_is_scipys_percentile_bootstrap_and_near_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(0.6, 0.1, 300)
    found = interval(values.tolist())
    expected = bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.mean == pytest.approx(values.mean())
    half = 1.96 * sem(values)
    assert found.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert interval(values.tolist()) == found


@pytest.mark.parametrize("values", [[0.5], [0.25, 0.25, 0.25]])
def test_one_task_or_equal_tasks_have_a_point_interval(values: list[float]) -> None:
    assert interval(values) == interval([values[0]])
    assert interval(values).low == interval(values).high == values[0]


def test_an_interval_reads_as_percent() -> None:
    assert str(interval([0.5, 0.5])) == "50.0 [50.0, 50.0]"


def test_a_paired_difference_is_ours_less_the_reference_over_common_tasks() -> None:
    ours = [record("ours", task, score) for task, score in (("t", 0.9), ("u", 0.6), ("v", 0.1))]
    theirs = [record("theirs", task, score) for task, score in (("t", 0.5), ("u", 0.4), ("w", 1.0))]
    found = difference(ours + theirs, "ours", "theirs", (4, 0))
    assert found is not None
    assert found.mean == pytest.approx(0.3)
    assert (found.low, found.high) == (pytest.approx(0.2), pytest.approx(0.4))
    turned = difference(ours + theirs, "theirs", "ours", (4, 0))
    assert turned is not None
    assert turned.mean == pytest.approx(-0.3)
    assert difference(ours + theirs, "ours", "theirs", (4, 20)) is None


def test_pairing_takes_the_spread_of_tasks_out() -> None:
    scores = np.random.default_rng(0).uniform(0, 0.9, 30)
    records = [record("low", str(n), score) for n, score in enumerate(scores)]
    records += [record("high", str(n), score + 0.05) for n, score in enumerate(scores)]
    found = difference(records, "high", "low", (4, 0))
    assert found is not None
    assert found.low == pytest.approx(0.05)
    assert interval(scores.tolist()).high - interval(scores.tolist()).low > 0.1


def test_the_table_has_a_row_a_method_and_a_dash_where_nothing_was_measured() -> None:
    records = [record("a", "t", 0.5), record("b", "t", 0.75), record("b", "t", 1.0, steps=20)]
    table = score_table(records, title="Title", reference="a")
    cells_ = [list(column.cells) for column in table.columns]
    assert [column.header for column in table.columns] == ["method", "4 shots, 0 steps", "4 shots, 20 steps"]
    assert cells_ == [
        ["a", "b"],
        ["50.0 [50.0, 50.0]", "75.0 [75.0, 75.0]\nd 25.0 [25.0, 25.0]"],
        ["-", "100.0 [100.0, 100.0]"],
    ]
    assert "1 tasks x 1 seeds" in str(table.caption)
    assert "'a'" in str(table.caption)
