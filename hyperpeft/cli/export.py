"""`hyperpeft export`: adapters in the formats that other programs read."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import hyperpeft
from hyperpeft.cli.console import messages, print_json, results, say
from hyperpeft.cli.options import AsJson, BackboneFolder, Force, Out
from hyperpeft.config import ConfigError


def _formats(wanted: bool) -> None:
    if not wanted:
        return
    from hyperpeft.exports import EXPORTS, carried

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
    format: Annotated[
        str, typer.Option("--format", "-f", help="peft, merged, adapterhub, gguf or safetensors.")
    ] = "peft",
    server: Annotated[
        list[str] | None, typer.Option(help="Check for a server: vllm, sglang (repeatable; format peft).")
    ] = None,
    max_rank: Annotated[int | None, typer.Option(help="The server's largest LoRA rank, if not its default.")] = None,
    backbone: BackboneFolder = None,
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
    _check_servers(server or [])
    loaded = {Path(adapter).resolve().name: hyperpeft.load_adapter(adapter, backbone) for adapter in adapters}
    if len(loaded) < len(adapters):
        raise ConfigError("two of the adapters have folders of one name: rename one.")
    if len(loaded) == 1:
        (only,) = loaded.values()
        places = [only.export(out, format, overwrite=force)]
    else:
        root = hyperpeft.export_many(loaded, out, format, overwrite=force)
        places = [root / name for name in loaded]
    found = {str(place): _checked(place, server or [], max_rank) for place in places}
    for place, warnings in found.items():
        if json:
            print_json({"folder": place, "format": format, "warnings": warnings})
        else:
            say(place)
            for warning in warnings:
                messages().print(f"warning: {place}: {warning}", markup=False)


def _check_servers(servers: list[str]) -> None:
    """Before anything is written."""
    from hyperpeft.exports.serving import rules_of

    for server in servers:
        rules_of(server)


def _checked(folder: Path, servers: list[str], max_rank: int | None) -> list[str]:
    from hyperpeft.exports.serving import problems

    return [f"{server}: {problem}" for server in servers for problem in problems(folder, server, max_rank=max_rank)]
