"""Each benchmark command in its smallest form: it runs, says what it measured, and its ratios are numbers."""

import re
from pathlib import Path

import finetune_cost
import generation_cost
import growth
import measure
import mixed_rows
import model_scale
import precision
import pytest
import step_cost
import torch
import training_profile

from hyperpeft.generator import Generator

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
SMALL = ["--repeats", "1", "--hidden", "32", "--layers", "1", "--tokens", "8"]


@pytest.fixture(autouse=True)
def threads() -> None:
    """The commands set the number of threads; the other tests keep theirs."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def ratios(printed: str) -> dict[str, float]:
    """Of the table of targets: name -> value now."""
    rows = re.findall(r"^│ (\S.*?) +│ (\S+) +│ [<>]= \S+ +│ [<>]= \S+ +│ [a-z ]+│$", printed, flags=re.MULTILINE)
    return {name: float(value) for name, value in rows}


def check(printed: str, *targets: measure.Target) -> None:
    found = ratios(printed)
    assert set(found) == {target.name for target in targets}
    assert all(0 <= value < float("inf") for value in found.values())


def test_step_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert step_cost.main([*SMALL, "--tasks", "2", "--rows", "1"]) in (0, 1)
    printed = capsys.readouterr().out
    check(printed, step_cost.TIME, step_cost.MEMORY)
    assert "PEFT LoRA" in printed


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_disable` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
@pytest.mark.parametrize("more", [[], ["--checkpointing"]])
def test_model_scale(capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    small = ["--shape", "tiny", "--tasks", "2", "--rows", "1", "--tokens", "8", "--repeats", "1"]
    assert model_scale.main([*small, *more]) in (0, 1)
    printed = capsys.readouterr().out
    check(printed, model_scale.THROUGHPUT, model_scale.MEMORY)
    assert "PEFT LoRA" in printed


def test_every_head_shape_and_kind_is_a_case() -> None:
    cases = step_cost.every_case(step_cost.Case())
    assert len(set(map(str, cases))) == len(cases)
    assert {case.kind for case in cases} == {"lora", "bottleneck", "ia3", "prompt"}
    assert {case.head for case in cases} == set(step_cost.HEADS)
    assert {case.tasks * case.rows for case in cases} == {64}


def test_generation_cost(generator: Generator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = generator.save_pretrained(tmp_path / "generator")
    arguments = ["--generator", str(folder), "--examples", "4", "--many", "4", "--alone", "2", "--repeats", "1"]
    assert generation_cost.main(arguments) in (0, 1)
    check(capsys.readouterr().out, generation_cost.FROM_DESCRIPTION, generation_cost.AT_ONCE, generation_cost.MEMORY)


@pytest.mark.parametrize(("clock", "seconds"), [([], finetune_cost.SECONDS), (["--wall"], finetune_cost.WAIT)])
def test_finetune_cost(
    clock: list[str], seconds: measure.Target, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--backbone", str(folders["bert"]), "--dtype", "float32", "--steps", "1", "--examples", "4"]
    assert finetune_cost.main([*arguments, *clock, "--tasks", "2", "--repeats", "1"]) in (0, 1)
    names = (seconds, finetune_cost.BARE, finetune_cost.TOGETHER, finetune_cost.PADDING)
    check(capsys.readouterr().out, *names)


def test_mixed_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert mixed_rows.main([*SMALL, "--adapters", "2", "--rows", "4", "--new", "2"]) in (0, 1)
    printed = capsys.readouterr().out
    check(printed, mixed_rows.PREDICTION, mixed_rows.GENERATION)
    assert printed.count("PEFT adapter_names") == 2


def test_precision(capsys: pytest.CaptureFixture[str]) -> None:
    assert precision.main([*SMALL, "--tasks", "2", "--rows", "1"]) in (0, 1)
    check(capsys.readouterr().out, precision.STEP, precision.LOSS)


def test_the_quality_of_both_precisions(capsys: pytest.CaptureFixture[str]) -> None:
    assert precision.main([*SMALL, "--tasks", "2", "--rows", "1", "--quality", "2"]) in (0, 1)
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("no adapter, 4 shots, 0 steps", "generated, 4 shots, 10 steps"))


def test_growth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*SMALL, "--points", "1", "--corpora", "2", "4", "--output", str(tmp_path)]
    assert growth.main(arguments) in (0, 1)
    check(capsys.readouterr().out, growth.STEP, growth.SAMPLING, growth.LOOK_UP)
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    table = (tmp_path / "growth.md").read_text()
    assert all(f"| {name} | " in table for name in ("tasks a batch", "rank", "tokens", "targets", "hypernetwork width"))


def test_training_profile(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["steps=2", "validation.every=2", "validation.queries=2", "episodes.rows=8", "episodes.tasks=2"]
    assert training_profile.main([*small, "trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1"]) in (0, 1)
    printed = capsys.readouterr().out
    check(printed, training_profile.SHARE, training_profile.PADDING)
    parts = [float(share) for share in re.findall(r"│ ([0-9.]+)% ", printed)]
    assert sum(parts) == pytest.approx(100, abs=0.5)
    assert all(
        name in printed for name in (training_profile.BACKBONE, training_profile.GENERATOR, training_profile.TEXTS)
    )


def test_a_ratio_worse_than_its_bound_fails_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    most, least = measure.Target("cost", goal=1.0), measure.Target("speed", 20.0, recorded=2.0, at_least=True)
    assert measure.verdict([(most, 1.14), (least, 1.75)]) == 0
    assert capsys.readouterr().out.count("within bound") == 2
    assert measure.verdict([(most, 1.16), (least, 30.0)]) == 1
    assert measure.verdict([(most, 0.5), (least, 1.7)]) == 1
    assert "regression" in capsys.readouterr().out


def test_repetitions_take_turns_and_ratios_are_theirs() -> None:
    order: list[str] = []
    seconds = measure.interleaved({name: lambda name=name: order.append(name) for name in "ab"}, 2)
    assert order == ["a", "b"] * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}
    ticks = iter(range(100))
    assert measure.interleaved({"a": lambda: None}, 2, lambda: next(ticks)) == {"a": [1, 1]}
    assert measure.spread([2.0, 6.0, 8.0], [1.0, 2.0, 2.0]) == measure.Spread(2.5, 3.0, 3.5)


def test_saved_bytes_are_those_kept_for_backward() -> None:
    layer, x = torch.nn.Linear(3, 5), torch.randn(7, 3, requires_grad=True)
    assert measure.saved_bytes(lambda: layer(x).sum(), layer) == 4 * 7 * 3
