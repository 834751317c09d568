"""A benchmark from its configuration: methods, tuning, measurement, report, and the folder that holds them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from hyperpeft.backbones.pretrained import fingerprint
from hyperpeft.baselines import METHODS, Materials, Method, Oracle, Scratch
from hyperpeft.benchmark import EvaluationSettings, cells_of, run_benchmark, too_few
from hyperpeft.config import ConfigError, did_you_mean
from hyperpeft.episodes import EpisodeSource
from hyperpeft.estimate import minutes, minutes_of_meta_training
from hyperpeft.generator import Generator
from hyperpeft.loading import load_generator
from hyperpeft.records import Record
from hyperpeft.report import Facts, ReportSettings, Results, provenance, score_tables, write_report
from hyperpeft.run import Run
from hyperpeft.run_config import STARTS
from hyperpeft.study.demand import NotYetMadeError, TasksOnDemand, UnavailableError
from hyperpeft.study.folder import StudyFolder
from hyperpeft.study.recipe import config_of
from hyperpeft.tasks import Task, TaskError
from hyperpeft.tuning import Tuned, TuningSettings, tune

log = logging.getLogger(__name__)
NOT_IN_STARTS = MappingProxyType(
    {"label_reader": None, "refinement": None, "refining": {}, "objective": {"kind": "sft"}}
)
"""Sections of a generator's recipe that its starts do not use: kept starts serve generators that differ in these."""


class Study:
    """A benchmark in its folder, which a later run of the same configuration continues."""

    def __init__(self, config: DictConfig):
        self.plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
        self.folder = StudyFolder(Path(config.output) / config.name)
        self.evaluation = EvaluationSettings(**self.plain["evaluation"])
        self.tuning = self._tuning()
        self.settings = ReportSettings(**self.plain["report"])
        self.left_out: dict[str, str] = {}
        self._check_names()
        if config.threads:
            torch.set_num_threads(config.threads)
        self.generator = load_generator(config.generator)
        self.identity = _identity(self.generator)
        self.folder.check(self.plain, self.identity)
        measuring = self.training if config.corpus is None else Run(self._run_config("measured", config.corpus))
        self.tasks = measuring.usable(config.split, self.generator)
        self.validation = measuring.usable("validation", self.generator)
        self.too_few = too_few(self.tasks, self.evaluation)
        self._check_tasks()

    def run(self) -> list[Record]:
        """Say what it costs, tune, measure what is not measured yet, write the report; returns the records in it."""
        self.folder.begin(self.plain, self.identity, provenance(self.generator.backbone.device))
        log.info(self.estimate())
        methods = self.methods()
        tuned = self._tuned(methods)
        lrs = {name: found.chosen for name, found in tuned.items()}
        records = [record for record in self._measure(methods, lrs) if self.settings.covers(record.task)]
        write_report(Results(records), self._facts(), self.settings, self.folder.path)
        return records

    def _measure(self, methods: Sequence[Method], lrs: Mapping[str, float]) -> list[Record]:
        """Texts of measured tasks are embedded whenever they come, as for a new task; training tasks are known."""
        text, backbone = self.generator.text_encoder, self.generator.backbone
        text([description for task in self.training_tasks.loaded for description in task.descriptions])
        with text.together(keep=False):
            return run_benchmark(methods, self.tasks, backbone, self.evaluation, file=self.folder.records, lrs=lrs)

    def tables(self, records: Sequence[Record]) -> list[Table]:
        """The scores for a terminal, one table for each number of shots."""
        names = {record.method for record in records}
        reference = next((name for name in reversed(self.settings.rivals) if name in names), "no adapter")
        return score_tables(records, title=f"Benchmark {self.plain['name']}", reference=reference)

    def methods(self) -> list[Method]:
        """The chosen methods that can be used here; the others are logged and listed in the report.

        Meta-trains the starts they need. Raises ConfigError if a package is missing for a method asked for by name.
        """
        made = []
        for name in self._chosen:
            try:
                method = METHODS[name](self.materials)
            except (ImportError, UnavailableError) as error:
                self._leave_out(name, str(error))
            else:
                made += [method] if self._usable(name, method) else []
        return made

    def estimate(self) -> str:
        """What is left to do, and about how long it takes here by a timed piece of it."""
        methods, starts = self._planned()
        steps = self.evaluation.steps
        done = {(r.method, r.task, r.shots, r.steps, r.seed) for r in self.folder.measured()}
        cells = [c for c in cells_of(methods, self.tasks, self.evaluation) if not c.keys(steps) <= done]
        needed = minutes(cells, self.tasks, self.generator, self.evaluation)
        text = f"{len(cells)} groups of cells to measure, about {needed:.1f} min here"
        if trained := [name for name in starts if name in STARTS]:
            source = EpisodeSource(self.materials.train, self.training.config.episodes, self.training.config.seed)
            each = minutes_of_meta_training(self.generator, next(source.batches(1)), self.training.config.steps)
            text += f"; {len(trained)} starts to meta-train ({', '.join(trained)}), {each:.1f} min or more each"
        return text + ". Tuning, and what methods do before step 0 (SetFit, adapters of training tasks), comes on top."

    # ---- what methods are made from

    @cached_property
    def training(self) -> Run:
        """The generator's own recipe with its tasks. Raises UnavailableError where those are not on this machine."""
        try:
            return Run(self._run_config("starts", **NOT_IN_STARTS))
        except TaskError as error:
            raise UnavailableError(f"what the generator was meta-trained on cannot be read here: {error}") from error

    @cached_property
    def training_tasks(self) -> TasksOnDemand:
        """The meta-train tasks that the backbone can do."""
        return TasksOnDemand(lambda: self.training.usable("train", self.generator))

    @cached_property
    def materials(self) -> Materials:
        """Other starts are meta-trained by the generator's own recipe when they are asked for."""
        return Materials(
            generator=self.generator,
            train=self.training_tasks,
            measured={task.name: task for task in (*self.tasks, *self.validation)},
            learned=self._learned,
            folder=self.folder.path / "materials",
            seed=self.generator.about["run"]["seed"],
        )

    @property
    def _chosen(self) -> list[str]:
        chosen = self.plain["methods"]
        return [name for name in METHODS if chosen is None or name in chosen]

    def _learned(self, name: str) -> Generator:
        start = self.training.train(name)
        start.backbone = self.generator.backbone  # equal weights, held once
        return start

    def _known(self, name: str) -> Generator:
        if name in STARTS and not (self.training.folder / name / "config.yaml").exists():
            raise NotYetMadeError(name)
        return self._learned(name)

    def _planned(self) -> tuple[list[Method], list[str]]:
        """Methods as far as they can be had without training, and what is still to be made from meta-train tasks."""
        planned: list[Method] = []
        starts: dict[str, None] = {}
        materials = replace(self.materials, learned=self._known, train=TasksOnDemand(_adapters_of_training_tasks))
        for name in self._chosen:
            try:
                planned.append(METHODS[name](materials))
            except NotYetMadeError as start:
                starts[str(start)] = None
                planned.append(_stand_in(name, self.generator))
            except (ImportError, UnavailableError):
                continue  # said by `methods`
        return [m for m in planned if m.suits(self.generator.backbone) and not _absent(m)], list(starts)

    def _usable(self, name: str, method: Method) -> bool:
        if self.evaluation.labels == "codes" and name == Oracle.name:
            self._leave_out(name, "labels are codes here, and the task's other data has its own labels")
            return False
        if absent := _absent(method):
            self._leave_out(name, f"not installed: {', '.join(absent)}")
            return False
        if not method.suits(self.generator.backbone):
            self.left_out[name] = f"not for a backbone of kind {self.generator.backbone.settings()['kind']}"
            log.info("%s: %s", name, self.left_out[name])
            return False
        return True

    def _leave_out(self, name: str, reason: str) -> None:
        if self.plain["methods"] is not None:
            raise ConfigError(f"the method {name!r} cannot run: {reason}. Install what it needs, or leave it out.")
        log.warning("%s is left out: %s", name, reason)
        self.left_out[name] = reason

    def _tuned(self, methods: Sequence[Method]) -> dict[str, Tuned]:
        if not any(self.evaluation.steps) or not any(self.evaluation.shots):
            return {}
        found = tune(
            methods,
            self.validation,
            self.generator.backbone,
            self.tuning,
            self.folder.path / "tuning",
            self.evaluation.labels,
        )
        self.folder.write_step_sizes(found)
        return found

    # ---- checks and facts

    def _tuning(self) -> TuningSettings:
        try:
            return TuningSettings(**self.plain["tuning"])
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def _check_names(self) -> None:
        unknown = [name for name in self.plain["methods"] or () if name not in METHODS]
        if unknown:
            raise ConfigError(f"methods: there is no {unknown[0]!r}. {did_you_mean(unknown[0], METHODS)}")
        if self.plain["split"] not in ("test", "validation"):
            raise ConfigError(f"split is {self.plain['split']!r}: measure `test`, or `validation` while developing.")
        for name in ("shots", "steps", "seeds"):
            if not self.plain["evaluation"][name] or min(self.plain["evaluation"][name]) < 0:
                raise ConfigError(f"evaluation.{name} is {self.plain['evaluation'][name]}: give numbers of 0 or more.")

    def _check_tasks(self) -> None:
        """The measured and the tuned-on tasks are none that the generator, and so every start, was meta-trained on."""
        both = sorted(
            {task.name for task in (*self.tasks, *self.validation)} & {*self.generator.about["meta_train_tasks"]}
        )
        if both:
            raise ConfigError(f"the generator was meta-trained on {both}: choose a corpus or splits without them.")
        if not any(self.settings.covers(task.name) for task in self.tasks):
            names = [task.name for task in self.tasks]
            raise ConfigError(f"report.tasks={self.settings.tasks!r} matches no task as a whole. There are {names}.")
        for shots, few in self.too_few.items():
            if len(self.tasks) - len(few) < 2:
                raise ConfigError(
                    f"of {len(self.tasks)} tasks, {len(few)} have too few examples for {shots} shots: fewer than two "
                    f"are left. Take {shots} out of evaluation.shots, or give a corpus with more examples."
                )

    def _facts(self) -> Facts:
        settings = self.folder.settings()
        tasks = [task for task in self.tasks if self.settings.covers(task.name)]
        return Facts(
            title=f"Benchmark {self.plain['name']}",
            config=settings,
            generator=f"{self.plain['generator'] or 'inside the package'}#{self.identity}",
            tasks=[task.name for task in tasks],
            too_few=too_few(tasks, EvaluationSettings(**settings["evaluation"])),
            left_out=self.left_out,
            step_sizes=self.folder.step_sizes(),
            sittings=self.folder.sittings(),
        )

    def _run_config(self, name: str, corpus: Any = None, **changes: Any) -> DictConfig:
        """The generator's own training configuration in this study's folder, with another corpus if one is given."""
        changes |= {"name": name, "output": str(self.folder.path), "threads": self.plain["threads"]}
        if corpus is not None:
            changes |= {"corpus": OmegaConf.to_container(corpus, resolve=True), "licences": None}
        return config_of(self.generator, changes)


def _identity(generator: Generator) -> str:
    """Fingerprint of the generator's weights, and its temperatures if it is calibrated: both show in the records."""
    calibration = generator.calibration
    return fingerprint(generator) + (f" {dict(calibration.temperatures)}" if calibration else "")


def _adapters_of_training_tasks() -> list[Task]:
    raise NotYetMadeError("adapters of training tasks")


def _stand_in(name: str, generator: Generator) -> Method:
    """A method of that name and of the usual cost."""
    method = Scratch(generator.hypernetwork.adapter)
    method.name = name
    return method


def _absent(method: Method) -> list[str]:
    return [package for package in method.requires if find_spec(package) is None]
