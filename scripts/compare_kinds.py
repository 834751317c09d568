"""Every adapter kind by one recipe at equal parameters: python scripts/compare_kinds.py --config configs/kinds.yaml

Meta-trains a generator and a shared adapter of each kind, measures both and a fresh adapter on held-out tasks, each
fine-tuned by the step size that was best for it on meta-validation tasks, and prints one table. A second call of the
same configuration continues. Overrides: key=value of the configuration.
"""

import argparse
from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from hyperpeft.baselines import Generated, Method, Multitask, Scratch, ZeroShot
from hyperpeft.benchmark import EvaluationSettings, run_benchmark
from hyperpeft.config import load_config
from hyperpeft.generator import Generator
from hyperpeft.records import Record
from hyperpeft.report import score_tables
from hyperpeft.run import Run
from hyperpeft.run_config import RunConfig
from hyperpeft.tuning import TuningSettings, tune


@dataclass
class ComparisonConfig(RunConfig):
    """A run, whose `adapter` each of `kinds` replaces. The run of a kind is in the folder `output/name/kind`."""

    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)
    tuning: TuningSettings = field(default_factory=TuningSettings)


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/kinds.yaml")
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    try:
        config: Any = load_config(ComparisonConfig, [given.config], given.overrides)
        tuning: Any = OmegaConf.to_object(config.tuning)
    except ValueError as error:
        parser.error(str(error))
    if not config.kinds:
        parser.error(f"{given.config} names no kinds to compare. Add kinds: {{lora: {{kind: lora}}, ...}}")
    records: list[Record] = []
    sizes = Table(
        "kind", "parameters", "step sizes", title="Parameters of one task's adapter, step sizes of its fine-tune"
    )
    for name, adapter in config.kinds.items():
        run = Run(_run_config(config, name, adapter))
        generator, shared = run.train(), run.train("shared")
        found, lrs = _measured(run, generator, shared, tuning)
        records += found
        sizes.add_row(name, f"{generator.shared(1).count:,}", ", ".join(f"{key} {lr:g}" for key, lr in lrs.items()))
    console = Console()
    console.print(sizes)
    for table in score_tables(records, title="Adapter kinds", reference="no adapter"):
        console.print(table)


def _run_config(config: Any, name: str, adapter: dict[str, Any]) -> Any:
    """The configuration of one kind's run."""
    made: Any = OmegaConf.structured(RunConfig())
    for key in RunConfig.__dataclass_fields__:
        made[key] = config[key]  # not merged: a section of another kind has other settings
    made.output, made.name, made.adapter = f"{config.output}/{config.name}", name, adapter
    return made


def _measured(
    run: Run, generator: Generator, shared: Generator, tuning: TuningSettings
) -> tuple[list[Record], dict[str, float]]:
    """Records whose methods are named by the kind (no adapter is one method of all kinds); each method's step size."""
    adapter = generator.hypernetwork.adapter
    methods: list[Method] = [
        ZeroShot(adapter),
        Scratch(adapter),
        Multitask(shared),
        Generated(generator),
        Generated(generator, "wrong-task description"),
    ]
    backbone, validation = generator.backbone, run.usable("validation", generator)
    lrs = {key: one.chosen for key, one in tune(methods, validation, backbone, tuning, run.folder / "tuning").items()}
    tasks = run.usable("test", generator)
    settings = EvaluationSettings(**run.plain["evaluation"])
    # other candidates may choose other step sizes: their records are others
    file = run.folder / f"records-{'-'.join(f'{lr:g}' for lr in lrs.values())}.jsonl"
    found = run_benchmark(methods, tasks, backbone, settings, file=file, lrs=lrs)
    named = [record if record.method == "no adapter" else _named(record, run.folder.name) for record in found]
    return named, lrs


def _named(record: Record, kind: str) -> Record:
    return replace(record, method=f"{kind}: {record.method}")


if __name__ == "__main__":
    main()
