"""The command line: meta-training for now."""

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence

from omegaconf import OmegaConf
from rich.console import Console
from rich.logging import RichHandler

from hyperpeft.config import ConfigError, load_config
from hyperpeft.report import score_table, summary
from hyperpeft.run import Run, RunConfig, is_first_process
from hyperpeft.tasks import TaskError

REFERENCE = "shared multi-task adapter"


def train(arguments: Sequence[str] | None = None) -> None:
    """Meta-train a generator and print how it does on held-out tasks. Exit code 2 for a wrong configuration."""
    parser = argparse.ArgumentParser(
        description="Meta-train a generator of adapters, then measure it on held-out tasks.",
        epilog="Overrides are dotted: steps=200 optim.lr=3e-4 adapter.rank=4 corpus.path=... trainer.devices=2. "
        "--print-config shows every setting.",
    )
    parser.add_argument("--config", action="append", default=[], help="YAML file; later files win (repeatable)")
    parser.add_argument("--print-config", action="store_true", help="print the merged configuration and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args(arguments)
    _quiet_logs()
    try:
        config = load_config(RunConfig, options.config or ["configs/default.yaml"], options.overrides)
        if options.print_config:
            print(OmegaConf.to_yaml(config), end="")
            return
        _train(Run(config))
    except (ConfigError, TaskError) as error:
        Console(stderr=True).print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted: the same command goes on from the last checkpoint.")
        sys.exit(130)


def _train(run: Run) -> None:
    generator = run.train()
    settings = run.config.evaluation
    shared = run.train("shared", head="none") if settings.shared_baseline else None
    if not is_first_process():
        return
    records = run.evaluate(generator, shared)
    generator.about["evaluation"] = {"held-out tasks, score in % [95 % interval]": summary(records)}
    generator.save_pretrained(run.folder / "generator")
    reference = REFERENCE if shared else "no adapter"
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(score_table(records, title=f"Held-out tasks of {run.config.name}", reference=reference))
    place = run.folder / "generator"
    console.print(f"\nThe generator is in {place}. Use it:\n", highlight=False)
    console.print(
        f'    hyperpeft.generate("describe the task", examples=[...], generator="{place}")\n', highlight=False
    )


def _quiet_logs() -> None:
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler], force=True)
    for name in ("httpx", "fsspec", "matplotlib", "datasets"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists.*")
