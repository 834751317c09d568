"""The benchmark as a command."""

import argparse
import logging
import sys
from collections.abc import Sequence

from omegaconf import OmegaConf
from rich.console import Console
from rich.logging import RichHandler

from hyperpeft.config import ConfigError, load_config
from hyperpeft.study.study import BenchmarkConfig, Study
from hyperpeft.tasks import TaskError


def benchmark(arguments: Sequence[str] | None = None) -> None:
    """Measure methods as configured, print the scores, write report.md. Exit code 2 for a wrong configuration."""
    parser = argparse.ArgumentParser(
        description="Measure few-shot adaptation: methods x tasks x shots x fine-tune steps x seeds.",
        epilog="Overrides are dotted: evaluation.seeds=[0,1] methods=[generated,'from scratch']. "
        "--print-config shows every setting.",
    )
    parser.add_argument("--config", action="append", default=[], help="YAML file; later files win (repeatable)")
    parser.add_argument("--print-config", action="store_true", help="print the merged configuration and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args(arguments)
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler], force=True)
    try:
        config = load_config(BenchmarkConfig, options.config or ["configs/benchmark.yaml"], options.overrides)
        if options.print_config:
            print(OmegaConf.to_yaml(config), end="")
            return
        _run(Study(config))
    except (ConfigError, TaskError) as error:
        Console(stderr=True).print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted: the same command goes on after the last finished cell.")
        sys.exit(130)


def _run(study: Study) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in study.tables(study.run()):
        console.print(table)
    console.print(f"The report is {study.folder.path / 'report.md'}", highlight=False)
