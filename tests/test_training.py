"""Meta-training: what a step sees, what a checkpoint holds, and that interruption changes nothing."""

import csv
import json
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from conftest import awake
from typer.testing import CliRunner

from hyperpeft.calibration import REGIMES
from hyperpeft.cli import app
from hyperpeft.config import ConfigError, load_config
from hyperpeft.episodes import EpisodeSettings
from hyperpeft.fitting import OptimSettings
from hyperpeft.generator import Generator
from hyperpeft.objectives import Sft
from hyperpeft.run import Run
from hyperpeft.run_config import RunConfig
from hyperpeft.tasks import Example, Task
from hyperpeft.training import EpisodeData, MetaTraining, ValidationSettings, _Share

ROOT = Path(__file__).parent.parent
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def make_tasks() -> list[Task]:
    words = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay", "koi", "lion"]
    names = ["colour", "size", "sound", "speed", "weight"]
    return [
        Task(
            name=name,
            descriptions=(f"Tell the {name} of it.", f"Which {name} is it?"),
            examples=tuple(Example(f"{word} {name}", ("left", "right")[i % 2]) for i, word in enumerate(words)),
            labels={"left": "", "right": ""},
            family=name,
            metric="accuracy",
        )
        for name in names
    ]


def fit(generator: Generator, *, tasks: int, accumulate: int = 1, steps: int = 2, **trainer: Any) -> Generator:
    episodes = EpisodeSettings(tasks=tasks, rows=8, shots=[1], siblings=0.0)
    data = EpisodeData(make_tasks(), make_tasks(), episodes, ValidationSettings(every=steps, queries=4), seed=0)
    module = MetaTraining(generator, Sft(), OptimSettings(lr=1e-2, schedule="constant", warmup=0), 0, steps)
    arguments = {
        **QUIET,
        "enable_checkpointing": False,
        "use_distributed_sampler": False,
        "max_steps": steps,
        **trainer,
    }
    lightning.Trainer(accumulate_grad_batches=accumulate, **arguments).fit(module, data)
    return generator


def parameters(generator: Generator) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in generator.named_parameters()}


def test_one_accumulated_step_equals_one_large_step(generator_settings: dict[str, Any]) -> None:
    large = fit(awake(Generator.build(generator_settings)), tasks=4, steps=1)
    small = fit(awake(Generator.build(generator_settings)), tasks=2, accumulate=2, steps=1)
    start = parameters(awake(Generator.build(generator_settings)))
    moved = 0
    for name, value in parameters(large).items():
        torch.testing.assert_close(parameters(small)[name], value, rtol=1e-3, atol=1e-4)
        moved += int(not torch.equal(value, start[name]))
    assert moved > 10


def test_the_backbone_stays_frozen_and_out_of_the_module(generator: Generator) -> None:
    before = {name: value.clone() for name, value in generator.backbone.model.state_dict().items()}
    fit(generator, tasks=2)
    after = generator.backbone.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not [name for name in generator.state_dict() if "model" in name or "backbone" in name]


def test_processes_share_the_global_meta_batch() -> None:
    whole = _Share(8, lambda: 24, 0, 1)
    parts = [_Share(8, lambda: 24, rank, 2) for rank in range(2)]
    assert list(whole) == list(range(24, 32))
    assert sorted([*parts[0], *parts[1]]) == list(whole)


def write_corpus(folder: Path) -> None:
    folder.mkdir()
    (folder / "corpus.yaml").write_text("format: folder\n")
    for task in make_tasks():
        fields = {
            "name": task.name,
            "family": task.family,
            "descriptions": list(task.descriptions),
            "labels": dict(task.labels),
            "examples": [[example.input, example.output] for example in task.examples],
        }
        (folder / f"{task.name}.yaml").write_text(json.dumps(fields))
    splits = {
        "families": {"colour": "train", "size": "train", "sound": "validation", "speed": "test", "weight": "test"}
    }
    (folder.parent / "splits.yaml").write_text(json.dumps(splits))


@pytest.fixture
def run_overrides(tmp_path: Path, folders: dict[str, Path]) -> list[str]:
    write_corpus(tmp_path / "corpus")
    return [
        f"output={tmp_path}/out",
        "steps=4",
        f"corpus.path={tmp_path}/corpus",
        f"corpus.splits={tmp_path}/splits.yaml",
        f"backbone.model={folders['bert']}",
        "backbone.dtype=float32",
        "adapter.rank=2",
        f"text_encoder.model={folders['bert']}",
        f"text_encoder.cache={tmp_path}/cache",
        "encoder.d_task=16",
        "encoder.dropout=0.1",
        "hypernetwork.d_hidden=8",
        "episodes.tasks=2",
        "episodes.rows=8",
        "episodes.shots=[0,1]",
        "validation.every=2",
        "validation.shots=[1]",
        "evaluation.shots=[0,2]",
        "evaluation.steps=[0,2]",
        "evaluation.seeds=[0]",
        "trainer.enable_progress_bar=false",
        "trainer.enable_model_summary=false",
        "trainer.accelerator=cpu",
    ]


def run(overrides: list[str], *more: str) -> Run:
    return Run(load_config(RunConfig, [], [*overrides, *more]))


def test_the_weight_of_a_corpus_is_that_of_its_tasks(run_overrides: list[str]) -> None:
    for part in run(run_overrides, "corpus.weight=2.5").parts.values():
        assert {task.weight for task in part} == {2.5}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", [2, 3, 4])
def test_a_resumed_run_equals_an_uninterrupted_one(
    run_overrides: list[str], monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Also over several epochs after the restart: Lightning 2.6 counts its epochs wrong there."""
    run_overrides = [*run_overrides, "steps=6"]
    whole = parameters(run(run_overrides, "name=whole").train())

    with monkeypatch.context() as patched:
        callbacks = Run._callbacks
        patched.setattr(Run, "_callbacks", lambda self: [*callbacks(self), _StopOnNext(steps)])
        with pytest.raises(RuntimeError, match="pulled the plug"):
            run(run_overrides, "name=cut").train()
    again = run(run_overrides, "name=cut")
    resumed = parameters(again.train())
    assert (again.folder / "generator-checkpoints" / "last.ckpt").exists()
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


REFINING = ["refinement.apart=true", "refinement.normalised=false", "refinement.size=0.1", "refining.steps=4"]


@pytest.mark.filterwarnings("ignore")
def test_a_refinement_with_a_start_of_its_own_is_trained_after_the_generator(
    run_overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = parameters(run(run_overrides, "name=alone").train())
    both = run(run_overrides, *REFINING, "name=both")
    generator = both.train()
    found = parameters(generator)
    assert {name: torch.equal(value, found[name]) for name, value in alone.items()} == dict.fromkeys(alone, True)
    moved = {name for name in found.keys() - alone.keys() if found[name].any()}
    assert any("offset" in name for name in moved)
    assert all(value.requires_grad for value in generator.parameters())
    assert generator.about["best_step"] in (2, 4)
    assert generator.about["best_refining_step"] in (2, 4)
    assert generator.about["meta_train_tasks"] == ["colour", "size"]
    again = run(run_overrides, *REFINING, "name=both").train()
    assert all(torch.equal(value, found[name]) for name, value in parameters(again).items())

    with monkeypatch.context() as patched:
        new = Run._to_refine
        patched.setattr(Run, "_to_refine", lambda self, begun: _stopped(new(self, begun), patched))
        with pytest.raises(RuntimeError, match="pulled the plug"):
            run(run_overrides, *REFINING, "name=cut").train()
    resumed = parameters(run(run_overrides, *REFINING, "name=cut").train())
    assert all(torch.equal(value, found[name]) for name, value in resumed.items())


@pytest.mark.filterwarnings("ignore")
def test_a_refinement_begins_at_the_start_that_is_named(run_overrides: list[str]) -> None:
    made = run(run_overrides, *REFINING, "refining.start=shared", "refining.lr=1e-12", "name=begun")
    generator, start = made.train(), made.train("shared")
    offsets = dict(zip(generator.refinement.names, generator.refinement.offset, strict=True))  # type: ignore[union-attr]
    begun, learned = dict(generator.shared(1).named()), dict(start.shared(1).named())
    for name, offset in offsets.items():
        torch.testing.assert_close(offset, (learned[name] - begun[name])[0], rtol=0, atol=1e-9)
    assert any(offset.any() for offset in offsets.values())


def _stopped(generator: Generator, patched: pytest.MonkeyPatch) -> Generator:
    """The generator, with a fit that fails at its third step."""
    callbacks = Run._callbacks
    patched.setattr(Run, "_callbacks", lambda self: [*callbacks(self), _StopOnNext(3)])
    return generator


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["refinement.apart=true"], "refinement.apart=true, refining.steps=0"),
        (["refining.steps=2"], "refinement.apart=false, refining.steps=2"),
        ([*REFINING, "refining.start=mamal"], "no 'mamal'. Did you mean 'maml'"),
        ([*REFINING, "episodes.shots=[0]"], "need a number above 0"),
    ],
)
def test_refining_says_what_it_needs(run_overrides: list[str], overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(run_overrides, *overrides)


@pytest.mark.filterwarnings("ignore")
def test_the_last_checkpoint_is_the_newest_even_where_nothing_gets_better(
    run_overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Sft.validate
    monkeypatch.setattr(Sft, "validate", lambda *given: replace(measure(*given), accuracy=torch.tensor([0.5])))
    begun = run([*run_overrides, "steps=6"])
    begun.train()
    (best,) = (begun.folder / "generator-checkpoints").glob("best-*.ckpt")
    steps = [torch.load(file, weights_only=True)["global_step"] for file in (best, best.with_name("last.ckpt"))]
    assert steps == [2, 6]


class _StopOnNext(lightning.Callback):
    """Fails on the first step after so many."""

    def __init__(self, steps: int):
        self.steps = steps

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.global_step == self.steps:
            raise RuntimeError("pulled the plug")


@pytest.mark.filterwarnings("ignore")
def test_a_run_trains_evaluates_and_refuses_other_settings(run_overrides: list[str]) -> None:
    first = run(run_overrides, "name=one")
    generator = first.train()
    shared = first.train("shared", head="none")
    records = first.evaluate(generator, shared)

    methods = {record.method for record in records}
    assert {"no adapter", "from scratch", "shared multi-task adapter", "generated"} <= methods
    assert {"generated, wrong-task description", "generated, gibberish description"} <= methods
    assert all(record.task in ("speed", "weight") and 0 <= record.score <= 1 for record in records)
    lines = (first.folder / "records-test.jsonl").read_text().splitlines()
    assert len(lines) == len(records)

    checkpoint = torch.load(first.folder / "generator-checkpoints" / "last.ckpt", weights_only=True)
    assert all(name.startswith("generator.") for name in checkpoint["state_dict"])
    assert set(checkpoint["state_dict"]) == {f"generator.{name}" for name in generator.state_dict()}

    loaded = Generator.from_pretrained(first.folder / "generator")
    assert parameters(loaded).keys() == parameters(generator).keys()
    assert loaded.about["meta_train_tasks"] == ["colour", "size"]

    with pytest.raises(ValueError, match=r"holds a run with other settings for adapter"):
        run(run_overrides, "name=one", "adapter.rank=3")


@pytest.mark.filterwarnings("ignore")
def test_the_command_calibrates_and_does_the_same_again(
    run_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("name: whole\n")
    more = ["evaluation.steps=[0]", "evaluation.shots=[0]", "shared_baseline=false", "--json"]
    done = CliRunner().invoke(app, ["train", "--config", "c.yaml", *run_overrides, *more])
    assert done.exit_code == 0, done.stderr
    folder = tmp_path / "out" / "whole" / "generator"
    first = Generator.from_pretrained(folder)
    assert first.calibration is not None
    assert set(first.calibration.temperatures) == set(REGIMES)
    assert first.trained_tasks is not None
    assert first.trained_tasks.names == ("colour", "size")
    assert first.about["calibration"]["meta_validation_tasks"] == ["sound"]
    weights = (folder / "model.safetensors").read_bytes()

    (tmp_path / "corpus").rename(tmp_path / "moved")
    lost = CliRunner().invoke(app, ["calibrate", str(folder)])
    assert (lost.exit_code, lost.stdout) == (2, "")
    again = CliRunner().invoke(app, ["calibrate", str(folder), f"corpus.path={tmp_path}/moved", "--json"])
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout) == {"generator": str(folder), **first.calibration.settings()}
    assert Generator.from_pretrained(folder).calibration == first.calibration
    assert (folder / "model.safetensors").read_bytes() == weights


@pytest.mark.filterwarnings("ignore")
def test_the_command_prints_its_result_alone(run_overrides: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("steps: 2\n")
    shown = ["steps=2", "trainer.enable_progress_bar=true", "trainer.enable_model_summary=true"]
    asked = ["train", "--json", "--config", str(tmp_path / "empty.yaml"), *run_overrides, *shown]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert Generator.from_pretrained(found["generator"]).about["evaluation"]
    assert "generated" in found["evaluation"]
    assert "Modules in train mode" in done.stderr


@pytest.mark.filterwarnings("ignore")
def test_same_seed_same_weights(run_overrides: list[str]) -> None:
    one = parameters(run(run_overrides, "name=a").train())
    two = parameters(run(run_overrides, "name=b").train())
    other = parameters(run(run_overrides, "name=c", "seed=1").train())
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("monitor", ["accuracy", "loss"])
def test_the_best_checkpoint_is_the_best_by_what_is_monitored(run_overrides: list[str], monitor: str) -> None:
    made = run(run_overrides, f"validation.monitor={monitor}", "validation.every=1")
    step = made.train().about["best_step"]
    file = made.folder / "logs/generator/version_0/metrics.csv"
    rows = [row for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines()) if row["val/loss"]]
    best = (max if monitor == "accuracy" else min)(float(row[f"val/{monitor}"]) for row in rows)
    assert float(rows[step - 1][f"val/{monitor}"]) == best


@pytest.mark.filterwarnings("ignore")
def test_kinds_are_compared_by_one_recipe(
    run_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = "kinds: {lora: {kind: lora, rank: 1}, bias: {kind: bias}}\n"
    tuning = "tuning: {tasks: 1, lrs: [1.0e-3], shots: [2], steps: [1]}\n"
    (tmp_path / "kinds.yaml").write_text(kinds + tuning)
    few = ["steps=2", "validation.every=2", "evaluation.shots=[2]", "name=kinds"]
    overrides = [override for override in run_overrides if not override.startswith("adapter.")]
    monkeypatch.setattr(sys, "argv", ["", "--config", str(tmp_path / "kinds.yaml"), *overrides, *few])
    compare = runpy.run_path(str(ROOT / "scripts/compare_kinds.py"))["main"]
    compare()
    first = capsys.readouterr().out
    for method in (
        "no adapter",
        "lora: generated",
        "bias: generated",
        "bias: from scratch",
        "Parameters",
        "step sizes",
    ):
        assert method in first
    (file,) = (tmp_path / "out/kinds/bias").glob("records-*.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert {record["method"] for record in records} > {"generated", "shared multi-task adapter"}
    compare()
    assert capsys.readouterr().out == first
    (tmp_path / "kinds.yaml").write_text(kinds + tuning.replace("1.0e-3", "1.0"))
    compare()
    assert "generated 1" in " ".join(capsys.readouterr().out.split())
    assert len([*(tmp_path / "out/kinds/bias").glob("records-*.jsonl")]) == 2


def test_a_kind_is_compared_on_the_given_corpus_and_nothing_of_the_default_one() -> None:
    module = runpy.run_path(str(ROOT / "scripts/compare_kinds.py"))
    config = load_config(module["ComparisonConfig"], [str(ROOT / "configs/kinds_letters.yaml")], ["corpus.tasks=400"])
    made = module["_run_config"](config, "ia3", config.kinds["ia3"])
    assert made.corpus == config.corpus
    assert "path" not in made.corpus
    assert (made.name, made.adapter) == ("ia3", {"kind": "ia3"})
    assert Run(made).parts["train"]


@pytest.mark.parametrize(
    ("given", "message"),
    [("steps=2", "names no kinds"), ("tuning.lrs=[]", "give one or more step sizes"), ("kind=x", "Did you mean")],
)
def test_a_comparison_of_nothing_says_so(
    given: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["", "--config", str(ROOT / "configs/default.yaml"), given])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "scripts/compare_kinds.py"))["main"]()
    assert message in capsys.readouterr().err


def test_what_a_batch_leaves_unused_has_a_gradient_of_zero(generator: Generator) -> None:
    """DDP waits for every parameter; see test_two_processes_give_the_losses_of_one."""
    module = MetaTraining(generator.train(), Sft(), OptimSettings(), seed=0, steps=1)
    nothing = module._nothing()
    assert float(nothing.detach()) == 0
    nothing.backward()
    trained = [value for value in module.parameters() if value.requires_grad]
    assert trained
    assert all(value.grad is not None and not value.grad.any() for value in trained)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(run_overrides: list[str], tmp_path: Path) -> None:
    losses = {}
    for devices in (1, 2):
        more = ["encoder.dropout=0.0", "shared_baseline=false", "trainer.log_every_n_steps=1"]
        more += [f"trainer.devices={devices}", f"name=devices{devices}"]
        more += ["trainer.strategy=ddp", "trainer.num_nodes=1"] if devices > 1 else []
        command = [sys.executable, "scripts/train_hyper.py", "--config", "configs/default.yaml", *run_overrides, *more]
        subprocess.run(command, cwd=ROOT, check=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"})
        file = tmp_path / "out" / f"devices{devices}/logs/generator/version_0/metrics.csv"
        rows = csv.DictReader(file.read_text(encoding="utf-8").splitlines())
        losses[devices] = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert len(losses[1]) == 4
    assert losses[2] == pytest.approx(losses[1], rel=1e-4)


class _InterruptFirst(lightning.Callback):
    """Ctrl-C on the first step."""

    def on_train_batch_start(self, *_: object) -> None:
        raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_run_ends_as_interrupted(run_overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    callbacks = Run._callbacks
    monkeypatch.setattr(Run, "_callbacks", lambda self: [*callbacks(self), _InterruptFirst()])
    with pytest.raises(KeyboardInterrupt):
        run(run_overrides, "name=interrupted").train()
