"""How the command line talks: results on standard output, everything else on standard error."""

import json
import logging
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import typer
from rich import reconfigure
from rich.console import Console
from rich.logging import RichHandler
from typer.core import TyperGroup

WRONG_USE, INTERRUPTED = 2, 130


def messages() -> Console:
    """Standard error; colours only on a terminal, and not if NO_COLOR is set."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def results() -> Console:
    """Standard output for people: tables are 160 wide where there is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def print_json(value: Mapping[str, Any]) -> None:
    """One line of JSON on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def say(text: str) -> None:
    """One line on standard output, as it is."""
    sys.stdout.write(text + "\n")


class Commands(TyperGroup):
    """The commands; what a user did wrong is one line and exit code 2, an interruption exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        quiet_logs()
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever read our output has read enough: typer's to handle
            raise
        except (ValueError, OSError) as error:
            if ctx.params["traceback"]:
                raise
            messages().print("error:", style="red", end=" ")
            messages().print(str(error), markup=False)
            raise typer.Exit(WRONG_USE) from error
        except KeyboardInterrupt as stop:
            messages().print("interrupted.")
            raise typer.Exit(INTERRUPTED) from stop


def quiet_logs() -> None:
    """Our own log lines on standard error, libraries' only from warnings on; what libraries draw goes there too."""
    reconfigure(stderr=True)
    handler = RichHandler(console=messages(), show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler], force=True)
    for name in ("httpx", "fsspec", "matplotlib", "datasets"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists.*")
