"""`hyperpeft pretrain`, `train`, `calibrate`, `benchmark`: runs from a configuration, which a second call continues."""

from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer
from omegaconf import DictConfig, OmegaConf

from hyperpeft.cli.console import INTERRUPTED, messages, print_json, results, say
from hyperpeft.cli.options import AsJson, Configs, Overrides, PrintConfig
from hyperpeft.config import load_config, overridden

if TYPE_CHECKING:
    from hyperpeft.run import Run

REFERENCE = "shared multi-task adapter"


def train_command(
    overrides: Overrides = None, config: Configs = None, print_config: PrintConfig = False, json: AsJson = False
) -> None:
    """Meta-train a generator of adapters, then measure it on held-out tasks."""
    from hyperpeft.run import Run
    from hyperpeft.run_config import RunConfig

    merged = _merged(RunConfig, config or ["configs/default.yaml"], overrides, print_only=print_config)
    with _going_on("from the last checkpoint"):
        _train(Run(merged), as_json=json)


def _train(run: "Run", *, as_json: bool) -> None:
    from hyperpeft.report import score_table, summary
    from hyperpeft.run import is_first_process

    generator = run.train()
    shared = run.train("shared", head="none") if run.config.shared_baseline else None
    if not is_first_process():
        return
    if generator.calibration is None:
        run.calibrate(generator)
    records = run.evaluate(generator, shared)
    scores = summary(records)
    generator.about["evaluation"] = {"held-out tasks, score in % [95 % interval]": scores}
    place = run.folder / "generator"
    generator.save_pretrained(place)
    if as_json:
        print_json({"generator": str(place), "evaluation": scores})
        return
    reference = REFERENCE if shared else "no adapter"
    results().print(score_table(records, title=f"Held-out tasks of {run.config.name}", reference=reference))
    say(f"\nThe generator is in {place}. Use it:\n")
    say(f'    hyperpeft generate -d "describe the task" -e examples.csv -g {place} -o out/adapter')
    say(f'    hyperpeft.generate("describe the task", examples=[...], generator="{place}")\n')


def pretrain_command(
    overrides: Overrides = None, config: Configs = None, print_config: PrintConfig = False, json: AsJson = False
) -> None:
    """Pretrain a small character-level language model, to be the backbone of a generator."""
    from hyperpeft.pretraining import PretrainConfig, pretrain

    merged = _merged(PretrainConfig, config or ["configs/letters_backbone.yaml"], overrides, print_only=print_config)
    with _going_on("from the last checkpoint"):
        place = pretrain(merged)
    if json:
        print_json({"backbone": str(place)})
        return
    say(f"The backbone is in {place}. Meta-train a generator for it:\n")
    corpus = dumps(OmegaConf.to_container(merged.corpus, resolve=True))
    told = [f"backbone.model={place}", f"objective.adapters={place.with_name('codes')}", f"corpus={corpus}"]
    say(f"    hyperpeft train --config configs/letters.yaml name=mine {' '.join(map(quote, told))}\n")


def calibrate_command(
    generator: Annotated[str, typer.Argument(help="Folder of a trained generator; its calibration is replaced.")],
    overrides: Overrides = None,
    json: AsJson = False,
) -> None:
    """Fit the temperatures of a generator's probabilities on its own meta-validation tasks; weights stay as they are.

    Overrides say where the tasks are now if they have moved: corpus.path=...
    """
    from hyperpeft.generator import Generator
    from hyperpeft.run import Run
    from hyperpeft.study import config_of

    made = Generator.from_pretrained(generator)
    nowhere = {"output": generator, "name": "calibrate"}  # a run's folder that is never written
    Run(overridden(config_of(made, nowhere), overrides or [])).calibrate(made)
    made.save_pretrained(generator)
    facts = {"generator": generator, **(made.calibration.settings() if made.calibration else {})}
    if json:
        print_json(facts)
    else:
        say("\n".join(f"{name}: {value}" for name, value in facts.items()))


def benchmark_command(
    overrides: Overrides = None, config: Configs = None, print_config: PrintConfig = False, json: AsJson = False
) -> None:
    """Measure few-shot adaptation: methods x tasks x shots x fine-tune steps x seeds."""
    from hyperpeft.report import summary
    from hyperpeft.study import BenchmarkConfig, Study

    merged = _merged(BenchmarkConfig, config or ["configs/benchmark.yaml"], overrides, print_only=print_config)
    with _going_on("after the last finished cell"):
        study = Study(merged)
        records = study.run()
    report = study.folder.path / "report.md"
    if json:
        print_json({"report": str(report), "records": len(records), "scores": summary(records)})
        return
    for table in study.tables(records):
        results().print(table)
    say(f"The report is {report}")


def _merged(schema: type, files: list[str], overrides: list[str] | None, *, print_only: bool) -> DictConfig:
    """The configuration; printed, and the command ended, where nothing else is asked."""
    merged = load_config(schema, files, overrides or [])
    if print_only:
        say(OmegaConf.to_yaml(merged).rstrip("\n"))
        raise typer.Exit
    return merged


@contextmanager
def _going_on(where: str) -> Iterator[None]:
    """Say on Ctrl-C what the same command does next."""
    try:
        yield
    except KeyboardInterrupt as stop:
        messages().print(f"interrupted: the same command goes on {where}.")
        raise typer.Exit(INTERRUPTED) from stop
