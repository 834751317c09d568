"""`hyperpeft generate`, `finetune`, `predict`, `evaluate`: make adapters and use them."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import hyperpeft
from hyperpeft.cli.console import messages, print_json, say
from hyperpeft.cli.files import STDIN, Columns, read_examples, read_inputs
from hyperpeft.cli.options import (
    AdapterFolder,
    AsJson,
    BackboneFolder,
    ExamplesFile,
    FileFormat,
    Force,
    InputColumn,
    LearningRate,
    Out,
    OutputColumn,
    Seed,
    Steps,
    as_steps,
)
from hyperpeft.config import ConfigError

if TYPE_CHECKING:
    from hyperpeft.adapter import Adapter


def generate_command(
    out: Out,
    description: Annotated[
        list[str] | None, typer.Option("--description", "-d", help="What the task is (repeatable: other wordings).")
    ] = None,
    examples: ExamplesFile = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="A label (repeatable).")] = None,
    task: Annotated[str | None, typer.Option(help="Task file (YAML, tasks/README.md) with all of these.")] = None,
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator", "-g", help="Folder, Hub repository, or one inside the package by name (default: default)."
        ),
    ] = None,
    finetune_steps: Annotated[int, typer.Option(min=0, help="Brief fine-tune after generation.")] = 0,
    lr: LearningRate = None,
    select: Annotated[
        Literal["generated", "auto"],
        typer.Option(
            help="auto: ask 8 examples or more, by cross-validation, whether no adapter, the shared or the generated "
            "one does best, and take that."
        ),
    ] = "generated",
    input_column: InputColumn = "input",
    output_column: OutputColumn = "output",
    file_format: FileFormat = None,
    force: Force = False,
    json: AsJson = False,
) -> None:
    """Make an adapter from a description, from examples, or from both, and save it as a folder."""
    columns = Columns(input_column, output_column, file_format)
    if task is not None and (description or examples or label):
        raise ConfigError("--task holds the description, the examples and the labels: give it alone, or these.")
    request = _from_task(task) if task is not None else _request(description, examples, label, columns)
    started = perf_counter()
    with messages().status("generating"):
        _check_free(out, overwrite=force)
        made = hyperpeft.generate(**request, generator=generator, finetune_steps=finetune_steps, lr=lr, select=select)
    _report(made, made.save(out, overwrite=force), perf_counter() - started, as_json=json)


def _request(
    description: list[str] | None, examples: str | None, labels: list[str] | None, columns: Columns
) -> dict[str, Any]:
    pairs = read_examples(examples, columns) if examples is not None else None
    return {"task_description": description, "examples": pairs, "labels": labels or None}


def _from_task(file: str) -> dict[str, Any]:
    from hyperpeft.corpora.folder import read_task

    task = read_task(Path(file))
    return {"task_description": task.descriptions, "examples": task.examples, "labels": dict(task.labels) or None}


def finetune_command(
    adapter: AdapterFolder,
    out: Out,
    examples: ExamplesFile = None,
    steps: Steps = "20",
    lr: LearningRate = None,
    seed: Seed = 0,
    backbone: BackboneFolder = None,
    input_column: InputColumn = "input",
    output_column: OutputColumn = "output",
    file_format: FileFormat = None,
    force: Force = False,
    json: AsJson = False,
) -> None:
    """Fine-tune an adapter briefly, on the examples that it was made from or on others, into a new folder."""
    columns = Columns(input_column, output_column, file_format)
    pairs = read_examples(examples, columns) if examples is not None else None
    _check_free(out, overwrite=force)
    number = as_steps(steps)
    before, started = hyperpeft.load_adapter(adapter, backbone), perf_counter()
    with messages().status(f"fine-tuning, steps: {steps}"):
        tuned = before.finetune(pairs, number, lr=lr, seed=seed)
    _report(tuned, tuned.save(out, overwrite=force), perf_counter() - started, as_json=json)


def _check_free(out: str, *, overwrite: bool) -> None:
    """Before the work, not after it."""
    from hyperpeft.exports import check_free

    check_free(Path(out), overwrite=overwrite)


def _report(adapter: "Adapter", folder: Path, seconds: float, *, as_json: bool) -> None:
    """What was made, where it is, how long it took (loading included)."""
    facts: dict[str, Any] = {
        "adapter": str(folder),
        "kind": adapter.weights.adapter.kind,
        "parameters": adapter.weights.count,
        "labels": list(adapter.labels),
        "examples": len(adapter.episode.support),
        "finetune_steps": adapter.finetune_steps,
        "schedule": asdict(adapter.schedule) if adapter.schedule else None,
        "choice": adapter.choice,
        "generator": adapter.generator,
        "backbone": adapter.weights.backbone,
        "seconds": round(seconds, 3),
    }
    if as_json:
        print_json(facts)
        return
    say(str(folder))
    chosen = "" if adapter.choice == "generated" else f"; chosen: {adapter.choice}"
    messages().print(
        f"{facts['kind']} adapter, {facts['parameters']:,} parameters, from {facts['examples']} examples, "
        f"{facts['finetune_steps']} fine-tune steps{chosen}, {seconds:.1f} s. Next: {_next(adapter, folder)}",
        markup=False,
    )


def _next(adapter: "Adapter", folder: Path) -> str:
    """The command to try; it names the backbone where the adapter's folder does not say where that is."""
    from hyperpeft.backbones.pretrained import relative

    place = adapter.backbone.name
    somewhere = Path(place).is_dir() and relative(place) != place
    named = ["--backbone", place] if somewhere else []
    return shlex.join(["hyperpeft", "predict", str(folder), "a text", *named])


def predict_command(
    adapter: AdapterFolder,
    texts: Annotated[list[str] | None, typer.Argument(help="Inputs; without any, --inputs or standard input.")] = None,
    inputs: Annotated[str | None, typer.Option("--inputs", "-i", help="txt, JSONL, CSV or TSV; - for stdin.")] = None,
    probabilities: Annotated[bool, typer.Option(help="Print the probability of each label too.")] = False,
    backbone: BackboneFolder = None,
    input_column: InputColumn = "input",
    file_format: FileFormat = None,
    json: AsJson = False,
) -> None:
    """Print the output for each input, a line each."""
    if texts and inputs is not None:
        raise ConfigError("inputs are given twice, as arguments and with --inputs: choose one.")
    asked = texts or read_inputs(inputs or _stdin(), Columns(input_column, file_format=file_format))
    used = hyperpeft.load_adapter(adapter, backbone)
    with messages().status(f"predicting {len(asked)} outputs"):
        rows = used.predict_proba(asked) if probabilities else [{} for _ in asked]
        found = [max(row, key=lambda label: row[label]) for row in rows] if probabilities else used.predict(asked)
    for text, output, row in zip(asked, found, rows, strict=True):
        if json:
            print_json({"input": text, "output": output, **({"probabilities": row} if row else {})})
        else:
            say("\t".join([output, *(f"{label}={share:.4f}" for label, share in row.items())]))


def _stdin() -> str:
    if sys.stdin.isatty():
        raise ConfigError('there is nothing to predict: give texts, --inputs FILE, or pipe texts in ("-").')
    return STDIN


def evaluate_command(
    adapter: AdapterFolder,
    examples: Annotated[str, typer.Option("--examples", "-e", help="JSONL, CSV or TSV file; - for stdin.")],
    metric: Annotated[str | None, typer.Option(help="accuracy, macro_f1, exact_match or rouge_l.")] = None,
    backbone: BackboneFolder = None,
    input_column: InputColumn = "input",
    output_column: OutputColumn = "output",
    file_format: FileFormat = None,
    json: AsJson = False,
) -> None:
    """Score an adapter on examples that it was not made from."""
    pairs = read_examples(examples, Columns(input_column, output_column, file_format))
    used = hyperpeft.load_adapter(adapter, backbone)
    with messages().status(f"evaluating on {len(pairs)} examples"):
        score = used.evaluate(pairs, metric)
    name = metric or used.episode.metric
    if json:
        print_json({"metric": name, "score": score, "examples": len(pairs)})
    else:
        say(f"{name} {score:.4f} ({len(pairs)} examples)")
