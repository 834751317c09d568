"""`hyperpeft export`: adapters in the formats that other programs read."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from hyperpeft.api import export_many, load_adapter
from hyperpeft.cli.console import messages, print_json, results, say
from hyperpeft.cli.options import AsJson, Force, Out
from hyperpeft.config import ConfigError
from hyperpeft.exports import EXPORTS, carried
from hyperpeft.exports.serving import SERVERS, problems


def _formats(wanted: bool) -> None:
    if not wanted:
        return
    table = Table("adapter kind", *EXPORTS, title="Which format carries which kind of adapter")
    for kind, formats in carried().items():
        table.add_row(kind, *("yes" if here else "-" for here in formats.values()))
    table.add_section()
    table.add_row("read by", *(each.readers for each in EXPORTS.values()))
    results().print(table)
    raise typer.Exit


def export_command(
    adapters: Annotated[list[str], typer.Argument(help="Folders that `hyperpeft generate` wrote; several: one call.")],
    out: Out,
    format: Annotated[str, typer.Option("--format", "-f", help=f"One of {', '.join(EXPORTS)}.")] = "peft",
    server: Annotated[
        list[str] | None, typer.Option(help=f"Check for a server: {', '.join(SERVERS)} (repeatable; format peft).")
    ] = None,
    max_rank: Annotated[int | None, typer.Option(help="The server's largest LoRA rank, if not its default.")] = None,
    force: Force = False,
    json: AsJson = False,
    formats: Annotated[
        bool,
        typer.Option("--formats", is_eager=True, callback=_formats, help="Print which format carries which kind."),
    ] = False,
) -> None:
    """Write adapters as folders that other programs load."""
    if server and format != "peft":
        raise ConfigError(f"--server checks PEFT folders; this is format {format!r}. Pass --format peft.")
    loaded = {Path(adapter).resolve().name: load_adapter(adapter) for adapter in adapters}
    if len(loaded) < len(adapters):
        raise ConfigError("two of the adapters have folders of one name: rename one.")
    if len(loaded) == 1:
        (only,) = loaded.values()
        places = [only.export(out, format, overwrite=force)]
    else:
        root = export_many(loaded, out, format, overwrite=force)
        places = [root / name for name in loaded]
    found = {str(place): _checked(place, server or [], max_rank) for place in places}
    for place, warnings in found.items():
        if json:
            print_json({"folder": place, "format": format, "warnings": warnings})
        else:
            say(place)
            for warning in warnings:
                messages().print(f"warning: {place}: {warning}", markup=False)


def _checked(folder: Path, servers: list[str], max_rank: int | None) -> list[str]:
    return [f"{server}: {problem}" for server in servers for problem in problems(folder, server, max_rank=max_rank)]
