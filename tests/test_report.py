"""The report: intervals against scipy and closed forms, findings on records whose answer is known, files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from scipy.stats import bootstrap, sem

from hyperpeft.baselines import METHODS
from hyperpeft.records import Record
from hyperpeft.report import Facts, ReportSettings, Results, interval, provenance, score_table, summary, write_report
from hyperpeft.report.figures import _style, best_baseline
from hyperpeft.report.findings import calibration, claims, costs, crossing, recovered, savings
from hyperpeft.report.markdown import pipe
from hyperpeft.report.provenance import commit

OURS, SCRATCH, SHARED = "generated", "from scratch", "shared multi-task adapter"


def record(method: str, task: str, score: float, seed: int = 0, shots: int = 4, steps: int = 0, **more: Any) -> Record:
    fields: dict[str, Any] = {
        "metric": "accuracy", "loss": None, "confidence": None, "seconds": 0.1, "cpu_seconds": 0.2, "flops": 10,
        "peak_bytes": None, "joules": None, "parameters": 5,
    }  # fmt: skip
    return Record(method, task, shots, steps, seed, score=score, **{**fields, **more})


def rows(values: Sequence[float]) -> list[list[float]]:
    return [[value] for value in values]


# ---- intervals


def test_with_one_seed_an_interval_is_scipys_percentile_bootstrap_and_near_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(0.6, 0.1, 300)
    found = interval(rows(values.tolist()))
    expected = bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.mean == pytest.approx(values.mean())
    half = 1.96 * sem(values)
    assert found.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert interval(rows(values.tolist())) == found


def test_with_seeds_the_width_is_that_of_the_two_stage_variance() -> None:
    """Var = S_between / T + mean within-task variance / (T S), each as the bootstrap's plug-in estimate."""
    random = np.random.default_rng(0)
    table = random.normal(0, 0.1, (60, 1)) + random.normal(0, 0.3, (60, 4))
    found = interval(table.tolist())
    between, within = table.mean(1).var(), table.var(axis=1).mean()
    half = 1.96 * np.sqrt(between / 60 + within / (60 * 4))
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)
    tasks_alone = interval(rows(table.mean(1).tolist()))
    assert found.high - found.low > 1.1 * (tasks_alone.high - tasks_alone.low)


def test_tasks_count_alike_whatever_their_number_of_seeds() -> None:
    ragged = interval([[0.0, 0.0, 0.0, 0.0], [1.0]])
    assert ragged.mean == 0.5
    even = interval([[0.0], [1.0]])
    assert (ragged.low, ragged.high) == (even.low, even.high) == (0.0, 1.0)


def test_one_task_varies_by_its_seeds_alone_and_separates_nothing() -> None:
    found = interval([[0.2, 0.4, 0.6]])
    assert 0.2 <= found.low < found.mean < found.high <= 0.6
    assert not found.separated
    assert interval([[0.2, 0.4], [0.3, 0.5]]).separated


@pytest.mark.parametrize("values", [[0.5], [0.25, 0.25, 0.25]])
def test_one_score_or_equal_scores_have_a_point_interval(values: list[float]) -> None:
    found = interval(rows(values))
    assert found.low == found.high == found.mean == values[0]


def test_an_interval_reads_as_percent() -> None:
    assert str(interval([[0.5], [0.5]])) == "50.0 [50.0, 50.0]"


# ---- results


def test_seeds_are_averaged_within_a_task() -> None:
    records = [record("a", "t", 0.2, seed=0), record("a", "t", 0.6, seed=1), record("a", "u", 1.0)]
    records += [record("a", "t", 0.9, steps=20)]
    found = Results(records).mean("a", (4, 0))
    assert found is not None
    assert found.mean == pytest.approx((0.4 + 1.0) / 2)


def test_a_difference_is_paired_by_task_and_seed() -> None:
    ours = [record("ours", task, score) for task, score in (("t", 0.9), ("u", 0.6), ("v", 0.1))]
    theirs = [record("theirs", task, score) for task, score in (("t", 0.5), ("u", 0.7), ("w", 1.0))]
    only_one_has = [record("ours", "t", 0.0, seed=1)]
    results = Results(ours + theirs + only_one_has)
    found = results.compare("ours", (4, 0), "theirs")
    assert found is not None
    assert found.difference.mean == pytest.approx((0.4 - 0.1) / 2)
    assert (found.difference.low, found.difference.high) == (pytest.approx(-0.1), pytest.approx(0.4))
    assert (found.wins, found.losses) == (0.5, 0.5)
    assert found.worst == pytest.approx(-0.1)
    assert results.compare("ours", (4, 20), "theirs") is None


def test_pairing_takes_the_spread_of_tasks_out() -> None:
    scores = np.random.default_rng(0).uniform(0, 0.9, 30)
    records = [record("low", str(n), score) for n, score in enumerate(scores)]
    records += [record("high", str(n), score + 0.05) for n, score in enumerate(scores)]
    found = Results(records).compare("high", (4, 0), "low")
    assert found is not None
    assert found.difference.low == pytest.approx(0.05)
    assert interval(rows(scores.tolist())).high - interval(rows(scores.tolist())).low > 0.1


def test_methods_have_one_fixed_order() -> None:
    known = [name for name in METHODS if name in (OURS, SCRATCH, "no adapter")]
    records = [record(name, "t", 0.5) for name in (OURS, "zebra", SCRATCH, "ape", "no adapter")]
    assert Results(records).methods == [*known, "ape", "zebra"]
    assert Results(records[::-1]).methods == Results(records).methods


# ---- findings


def curve(method: str, points: Mapping[int, float], shots: int = 4, seconds: float = 1.0) -> list[Record]:
    """The same for three tasks; costs `seconds` a step."""
    return [
        record(method, f"t{n}", score, shots=shots, steps=step, cpu_seconds=seconds * step)
        for n in range(3)
        for step, score in points.items()
    ]


def test_steps_and_cost_saved_are_read_off_the_measured_line() -> None:
    records = curve(OURS, {0: 0.5, 5: 0.7, 20: 0.95}) + curve(SCRATCH, {0: 0.3, 5: 0.4, 20: 0.6, 100: 0.8}, seconds=2)
    found = savings(Results(records), ReportSettings(rivals=[SCRATCH]))
    assert [(s.column[1], s.steps) for s in found] == [(0, pytest.approx(12.5)), (5, pytest.approx(60.0)), (20, None)]
    assert [s.rival_seconds for s in found] == [pytest.approx(25.0), pytest.approx(120.0), None]
    assert [s.ours_seconds for s in found] == [0, 5, 20]
    assert found[-1].most == 100


@pytest.mark.parametrize(
    ("target", "expected"), [(0.1, 0.0), (0.2, 0.0), (0.3, 5.0), (0.35, None), (0.25, 2.5), (0.21, 0.5)]
)
def test_crossing_is_the_first_one(target: float, expected: float | None) -> None:
    found = crossing([0, 5, 20, 100], [0.2, 0.3, 0.2, 0.3], target)
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_claim_holds_fixed_methods_at_zero_steps_but_never_controls() -> None:
    control = "generated, wrong-task description"
    records = curve(OURS, {0: 0.5, 5: 0.7}) + curve("SetFit", {0: 0.6}) + curve(control, {0: 0.4})
    found = {(c.against, c.column): c for c in claims(Results(records), OURS)}
    assert set(found) == {("SetFit", (4, 0)), ("SetFit", (4, 5)), (control, (4, 0))}
    assert found["SetFit", (4, 5)].held
    assert not found["SetFit", (4, 0)].held
    assert found["SetFit", (4, 5)].comparison.difference.mean == pytest.approx(0.1)
    assert [c.against for c in claims(Results(records), OURS, ["SetFit"])] == ["SetFit", "SetFit"]


def test_share_of_the_oracles_gain() -> None:
    records = curve(OURS, {0: 0.5, 5: 0.7}) + curve("no adapter", {0: 0.4}) + curve("task oracle", {0: 0.8})
    found = {r.column: r for r in recovered(Results(records), ReportSettings()) if r.method == OURS}
    assert found[4, 0].share == pytest.approx(0.25)
    assert found[4, 5].share == pytest.approx(0.75)
    worse = curve(OURS, {0: 0.5}) + curve("no adapter", {0: 0.4}) + curve("task oracle", {0: 0.3})
    assert recovered(Results(worse), ReportSettings())[0].share is None


def test_calibration_pools_the_answers_of_all_tasks() -> None:
    one = record("a", "t", 0.5, bins=[[9, 10, 9.5, 5]])
    two = record("a", "u", 0.5, bins=[[2, 30, 7.5, 15], [9, 10, 9.5, 10]])
    (found,) = calibration(Results([one, two]))
    assert found.gap == pytest.approx((9.5 + 7.5 + 9.5 - 5 - 15 - 10) / 50)
    assert found.ece == pytest.approx((abs(7.5 - 15) + abs(19 - 15)) / 50)


def test_costs_are_means_with_the_largest_peak() -> None:
    records = [
        record("a", "t", 0.5, cpu_seconds=1.0, peak_bytes=3),
        record("a", "u", 0.5, cpu_seconds=3.0, peak_bytes=7),
    ]
    (found,) = costs(Results(records))
    assert (found.cpu_seconds, found.peak_bytes, found.joules) == (2.0, 7, None)


def test_the_best_baseline_is_no_oracle_and_no_control() -> None:
    means = {OURS: 0.9, "task oracle": 0.95, "generated, support only": 0.85, SCRATCH: 0.4, "SetFit": 0.6}
    results = Results([r for name, score in means.items() for r in curve(name, {0: score})] + curve(SCRATCH, {5: 0.7}))
    assert best_baseline(results, ReportSettings(), (4, 0)) == ("SetFit", (4, 0))
    assert best_baseline(results, ReportSettings(), (4, 5)) == (SCRATCH, (4, 5))


# ---- tables


def test_the_table_has_a_row_a_method_and_a_dash_where_nothing_was_measured() -> None:
    records = [record("a", "t", 0.5), record("b", "t", 0.75), record("b", "t", 1.0, steps=20)]
    table = score_table(records, title="Title", reference="a")
    assert [column.header for column in table.columns] == ["method", "4 shots, 0 steps", "4 shots, 20 steps"]
    assert [list(column.cells) for column in table.columns] == [
        ["a", "b"],
        ["50.0 [50.0, 50.0]", "75.0 [75.0, 75.0]\nd 25.0 [25.0, 25.0]"],
        ["-", "100.0 [100.0, 100.0]"],
    ]
    assert "1 tasks x 1 seeds" in str(table.caption)
    assert summary(records)["b"] == {
        "4 shots, 0 steps": "75.0 [75.0, 75.0]",
        "4 shots, 20 steps": "100.0 [100.0, 100.0]",
    }


def test_a_markdown_table() -> None:
    assert pipe(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


# ---- the report's files


def synthetic() -> list[Record]:
    random = Random(0)
    starts = {OURS: 0.55, SCRATCH: 0.4, SHARED: 0.5}
    fixed = {"no adapter": 0.4, "task oracle": 0.8, "generated, wrong-task description": 0.5}
    records = []
    for task in (f"task {n}" for n in range(6)):
        for seed in (0, 1):
            for shots, steps in ((0, [0]), (4, [0, 5, 20])):
                for name, base in starts.items():
                    for step in steps:
                        score = base + 0.01 * step + random.gauss(0, 0.03)
                        bins = [[5, 10, 5.5, 6]]
                        records.append(record(name, task, score, seed, shots, step, cpu_seconds=0.01 + step, bins=bins))
                for name, base in fixed.items():
                    records.append(record(name, task, base + random.gauss(0, 0.03), seed, shots, peak_bytes=2**20))
    return records


def facts(**changes: Any) -> Facts:
    fields: dict[str, Any] = {
        "title": "Benchmark of tests",
        "config": {"name": "tests"},
        "generator": "somewhere#1234",
        "tasks": [f"task {n}" for n in range(6)],
        "too_few": {0: [], 4: ["small one"]},
        "left_out": {"SetFit": "not installed: setfit"},
        "step_sizes": {OURS: {"chosen": 0.001, "scores": {0.001: 0.5, 0.01: 0.4}}},
        "sittings": [{"commit": "abc123"}],
    }
    return Facts(**{**fields, **changes})


FIGURES = ["conditioning", "quality_against_cost", "steps_to_quality", "wins_and_losses"]


def test_a_report_says_what_was_measured_skipped_and_found(tmp_path: Path) -> None:
    text = write_report(Results(synthetic()), facts(), ReportSettings(), tmp_path).read_text()
    assert "4 shots: 5 tasks measured, 1 skipped. Left out, with too few examples: small one." in text
    assert "Method left out: SetFit (not installed: setfit)." in text
    assert "abc123" in text
    assert "0.001 (at the edge of the candidates)" in text
    assert "CPU seconds stand in for energy" in text
    lines = text.splitlines()
    claim = next(line for line in lines if line.startswith("| no adapter \\* | 4 | 20 |"))
    assert "| 100 % | 0 % | **yes, better** |" in claim
    assert any(line.startswith("| from scratch | 4 | 5 steps") for line in lines)
    for heading in ("Scores", "Steps and cost saved", "Share of the possible gain", "Calibration", "Cost"):
        assert f"## {heading}" in text
    for name in FIGURES:
        assert f"figures/{name}.png" in text


def test_energy_is_reported_where_it_was_measured(tmp_path: Path) -> None:
    records = [record(OURS, f"t{n}", 0.5, joules=12.5) for n in range(2)]
    text = write_report(Results(records), facts(), ReportSettings(), tmp_path).read_text()
    assert "Joules are of the processor package" in text
    assert "| 12.5 |" in text


def test_no_two_methods_look_alike() -> None:
    settings = ReportSettings(rivals=["from scratch", "shared multi-task adapter", "MAML", "Reptile"])
    looks = [
        (look["color"], look["marker"])
        for look in (_style(name, settings) for name in [settings.ours, *settings.rivals, "SetFit", "no adapter"])
    ]
    assert len(set(looks)) == len(looks)


def test_figures_are_pictures_and_svgs_repeat_byte_for_byte(tmp_path: Path) -> None:
    records = synthetic()
    for folder, ordered in ((tmp_path / "one", records), (tmp_path / "two", records[::-1])):
        folder.mkdir()
        write_report(Results(ordered), facts(), ReportSettings(), folder)
    assert sorted(file.stem for file in (tmp_path / "one/figures").glob("*.png")) == FIGURES
    for name in FIGURES:
        picture = imread(tmp_path / f"one/figures/{name}.png")
        assert min(picture.shape[:2]) > 150
        assert np.ptp(picture) > 0.5
        svg = (tmp_path / f"one/figures/{name}.svg").read_bytes()
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert svg == (tmp_path / f"two/figures/{name}.svg").read_bytes()
    assert (tmp_path / "one/report.md").read_text() == (tmp_path / "two/report.md").read_text()


def test_without_fine_tuning_and_controls_those_figures_are_left_out(tmp_path: Path) -> None:
    records = [record(name, f"t{n}", 0.5 + 0.1 * n) for name in (OURS, "no adapter") for n in range(2)]
    text = write_report(Results(records), facts(), ReportSettings(), tmp_path).read_text()
    assert [file.stem for file in (tmp_path / "figures").glob("*.png")] == ["wins_and_losses"]
    assert "steps_to_quality" not in text


# ---- provenance


def test_provenance_names_versions_commit_and_machine(tmp_path: Path) -> None:
    found = provenance(torch.device("cpu"))
    assert found["versions"]["torch"] == torch.__version__
    assert found["machine"]["device"] == "cpu"
    assert found["machine"]["processor"]
    assert commit(tmp_path / "nothing.py") is None
