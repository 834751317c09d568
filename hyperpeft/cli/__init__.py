"""The command line: `hyperpeft --help`.

What imports torch is imported inside the commands: help, completion and wrong use must not wait for it.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from hyperpeft.cli.adapters import evaluate_command, finetune_command, generate_command, predict_command
from hyperpeft.cli.console import Commands
from hyperpeft.cli.export import export_command
from hyperpeft.cli.info import info_command
from hyperpeft.cli.training import benchmark_command, calibrate_command, pretrain_command, train_command

__all__ = ["app", "main", "train"]

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Adapters for frozen pretrained models, generated from a task description and a few examples.",
    epilog="Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 a bug, "
    "2 something to correct, 130 interrupted.",
)

EXAMPLES: dict[Callable[..., None], tuple[str, ...]] = {
    train_command: (
        "hyperpeft train --config configs/default.yaml name=mine steps=200 optim.lr=3e-4",
        "hyperpeft train --config configs/default.yaml --print-config",
    ),
    generate_command: (
        "hyperpeft generate -d 'Route each message to a team.' -e tickets.csv -o out/routing",
        "hyperpeft generate -d 'Is the review kind?' -l kind -l unkind -o out/reviews",
        "hyperpeft generate --task tasks/everyday/chat_department.yaml --select auto -o out/chat",
        "cat tickets.tsv | hyperpeft generate -e - --file-format tsv --output-column team -o out/tickets",
    ),
    finetune_command: (
        "hyperpeft finetune out/routing --steps 50 -o out/routing-2",
        "hyperpeft finetune out/routing -e more.jsonl -o out/routing-3",
        "hyperpeft finetune out/routing --steps auto -o out/routing-4",
    ),
    predict_command: (
        "hyperpeft predict out/routing 'where is my refund?'",
        "cat messages.txt | hyperpeft predict out/routing --json --probabilities",
        "hyperpeft predict out/routing --inputs messages.csv --input-column text",
    ),
    evaluate_command: ("hyperpeft evaluate out/routing -e held-out.csv --metric macro_f1",),
    pretrain_command: ("hyperpeft pretrain --config configs/letters_backbone.yaml name=mine steps=3000",),
    calibrate_command: ("hyperpeft calibrate outputs/default/generator",),
    benchmark_command: ("hyperpeft benchmark --config configs/benchmark_quick.yaml 'evaluation.seeds=[0,1]'",),
    export_command: (
        "hyperpeft export out/routing -o out/peft",
        "hyperpeft export out/a out/b --server vllm -o out/all",
        "hyperpeft export --formats",
    ),
    info_command: ("hyperpeft info --json",),
}
for command, examples in EXAMPLES.items():
    epilog = "\n\n".join(("Examples:", *examples))
    app.command(command.__name__.removesuffix("_command"), epilog=epilog)(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hyperpeft {version('hyperpeft')}")
        raise typer.Exit


@app.callback()
def _every_command(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and stop.")
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error came from.")] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; default: what the process was called with. Ends the process."""
    app(args=None if arguments is None else list(arguments), prog_name="hyperpeft")


def train(arguments: Sequence[str] | None = None) -> None:
    """Meta-train a generator and print how it does on held-out tasks: `hyperpeft train`."""
    main(["train", *(sys.argv[1:] if arguments is None else arguments)])
