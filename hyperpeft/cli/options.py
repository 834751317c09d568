"""Options that several commands take."""

from typing import Annotated, Literal

import typer

from hyperpeft.config import ConfigError

AdapterFolder = Annotated[str, typer.Argument(help="Folder that `hyperpeft generate` wrote, or a Hub repository.")]
BackboneFolder = Annotated[
    str | None,
    typer.Option("--backbone", help="Where the adapter's backbone is here: a model folder (or a Hub repository)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print results as JSON, one value a line.")]
Out = Annotated[str, typer.Option("--out", "-o", help="Folder to write.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the folder if hyperpeft wrote it.")]
Steps = Annotated[
    str,
    typer.Option("--steps", help="Fine-tune steps, or auto: chosen, with the step size, by cross-validation."),
]
LearningRate = Annotated[
    float | None, typer.Option("--lr", help="Step size of fine-tuning (default: as the generator was calibrated).")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of fine-tuning.")]
ExamplesFile = Annotated[
    str | None,
    typer.Option("--examples", "-e", help="JSONL, CSV or TSV file with the columns input and output; - for stdin."),
]
InputColumn = Annotated[str, typer.Option("--input-column", help="Column that holds the input.")]
OutputColumn = Annotated[str, typer.Option("--output-column", help="Column that holds the output.")]
FileFormat = Annotated[
    str | None, typer.Option("--file-format", help="jsonl, csv, tsv or txt, where the file's name does not say it.")
]
Configs = Annotated[
    list[str] | None, typer.Option("--config", help="YAML file; later files win (repeatable).", show_default=False)
]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print the merged configuration and stop.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides.", show_default=False)
]


def as_steps(value: str) -> int | Literal["auto"]:
    """A number of 1 or more, or auto. Raises ConfigError for anything else."""
    if value == "auto":
        return "auto"
    if value.isdecimal() and int(value) >= 1:
        return int(value)
    raise ConfigError(f"--steps is {value!r}: neither a number of 1 or more nor auto.")
