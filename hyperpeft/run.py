"""One meta-training run from its configuration: tasks, training, evaluation, and the folder that holds them."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from hyperpeft.baselines import CONDITIONINGS, Generated, Method, Multitask, Scratch, ZeroShot
from hyperpeft.benchmark import EvaluationSettings, run_benchmark
from hyperpeft.calibrating import calibrate
from hyperpeft.config import ConfigError, build, did_you_mean, schema, typed
from hyperpeft.corpora import open_corpora
from hyperpeft.episodes import can_choose
from hyperpeft.fitting import fit, new_trainer
from hyperpeft.generator import SECTIONS, Generator
from hyperpeft.meta_splits import split_tasks
from hyperpeft.objectives import OBJECTIVES, Objective
from hyperpeft.records import Record
from hyperpeft.run_config import STARTS, Section, check_refining
from hyperpeft.tasks import Episode, Task, unique_by_name
from hyperpeft.training import MODES, EpisodeData, MetaTraining

log = logging.getLogger(__name__)
STEP_SIZES = "meta_sgd_step_sizes"
OBJECTIVE = "objective.safetensors"
UNREFINED = "unrefined"
"""The part that a run with `refining` trains first."""
UNTOLD = ("output", "resume", "shared_baseline", "starts")


def is_first_process() -> bool:
    """Whether this is the process of several that writes files and evaluates."""
    return getattr(rank_zero_only, "rank", 0) == 0


class Run:
    """A run in its folder `output/name`: config.yaml, checkpoints, logs, the generator, records of its evaluation."""

    def __init__(self, config: DictConfig):
        self.config: Any = config
        self.folder = Path(config.output) / config.name
        self.plain: Any = OmegaConf.to_container(config, resolve=True)
        if config.threads:
            torch.set_num_threads(config.threads)
        check_refining(config)
        self.parts = self._tasks()
        self._check_folder()

    def _tasks(self) -> dict[str, list[Task]]:
        parts: dict[str, list[Task]] = {}
        for corpus in open_corpora(self.plain["corpus"]):
            read = [replace(task, weight=corpus.weight) for task in unique_by_name(corpus.read())]
            for split, tasks in split_tasks(read, corpus.splits, self.config.licences).items():
                parts.setdefault(split, []).extend(tasks)
        for tasks in parts.values():
            unique_by_name(tasks)
        return parts

    def _check_folder(self) -> None:
        """Refuse to continue or overwrite a run of other settings."""
        file = self.folder / "config.yaml"
        begun = [*self.folder.glob("*-checkpoints/*.ckpt"), *self.folder.glob("*/config.yaml")]
        if not file.exists() or not begun:
            return
        before: Any = OmegaConf.to_container(OmegaConf.load(file))
        free = {"resume", "threads", "workers", "output", "evaluation", "shared_baseline", "starts"}
        changed = sorted(key for key in self.plain if key not in free and before.get(key) != self.plain[key])
        if self.config.resume is None or changed:
            reason = f"with other settings for {', '.join(changed)}" if changed else "and resume is null"
            raise ConfigError(f"{self.folder} holds a run {reason}. Choose another name=..., or remove the folder.")

    def usable(self, split: str, generator: Generator) -> list[Task]:
        """The tasks of a split that the backbone can do; the others are counted in a log line."""
        tasks, left_out = [], 0
        for task in self.parts[split]:
            try:
                generator.backbone.check(Episode(task.name, labels=tuple(task.labels)))
                tasks.append(task)
            except ValueError:
                left_out += 1
        kind = self.plain["backbone"]["kind"]
        note = f"; {left_out} left out: a backbone of kind {kind} cannot do them" if left_out else ""
        log.info("%s: %d tasks%s", split, len(tasks), note)
        return tasks

    def training_tasks(self, generator: Generator) -> list[Task]:
        """The meta-train tasks that the backbone can do, and with `episodes.choices` those that can be asked as one."""
        usable = self.usable("train", generator)
        if not self.config.episodes.choices:
            return usable
        known = {task.name for task in usable}
        chosen = [task for task in self.parts["train"] if can_choose(task) and task.name not in known]
        log.info("train: %d tasks of free text more, as a choice among their outputs", len(chosen))
        return [*usable, *chosen]

    def build_generator(self, *, without: Sequence[str] = (), **hypernetwork: Any) -> Generator:
        """A new generator as configured, without some sections and with changes to the hypernetwork section."""
        settings: dict[str, Any] = {name: None if name in without else self.plain[name] for name in SECTIONS}
        head = {"seed": self.config.seed, **self.plain["hypernetwork"], **hypernetwork}
        return Generator.build({**settings, "hypernetwork": head})

    def train(self, part: str = "generator", **hypernetwork: Any) -> Generator:
        """Meta-train (or continue, or load the finished) generator named `part`, keeping its best checkpoint.

        A name in STARTS is one start for all tasks: head `none`, that start's objective; tasks, episodes, steps and
        optimizer are those of the generator. `meta_sgd_step_sizes` gives the step sizes learned with `meta_sgd`. With
        `refining` the generator is trained as `unrefined` first, and then its refinement alone.
        """
        if part == STEP_SIZES:
            return self._step_sizes()
        finished, objective = self.folder / part, self._objective(part)
        if (finished / "config.yaml").exists():
            log.info("%s is trained already: loading it", finished)
            return self._loaded(finished, objective)
        begun = self.train(UNREFINED, **hypernetwork) if self._refines(part) else None
        generator = self._new(part, **hypernetwork) if begun is None else self._to_refine(begun)
        lightning.seed_everything(self.config.seed, workers=True, verbose=False)
        kept = [] if begun is None else [value for name, value in generator.named_parameters() if _is_kept(name, value)]
        _set_trainable(kept, trainable=False)
        module, best = self._fit(generator, objective if begun is None else {"kind": "sft"}, part)
        _set_trainable(kept, trainable=True)
        state = torch.load(best, weights_only=True, map_location="cpu")
        module.load_state_dict(state["state_dict"])
        generator.about = self._about(generator, state, objective)
        if begun is not None:
            generator.about |= {"best_step": begun.about["best_step"], "best_refining_step": state["global_step"]}
        if is_first_process():
            _save_objective(module.objective, finished)
            generator.save_pretrained(finished)
        return generator.eval()

    def _refines(self, part: str) -> bool:
        return part == "generator" and self.config.refining.steps > 0

    def _new(self, part: str, **hypernetwork: Any) -> Generator:
        if part in STARTS:
            return self.build_generator(without=["label_reader", "refinement"], **{"head": "none", **hypernetwork})
        return self.build_generator(without=["refinement"] if part == UNREFINED else [], **hypernetwork)

    def _to_refine(self, begun: Generator) -> Generator:
        """A trained generator with a new refinement, which begins at the start that `refining` names."""
        generator = Generator.build({**begun.settings(), "refinement": self.plain["refinement"]}, begun.backbone)
        generator.load_state_dict(begun.state_dict(), strict=False)
        if generator.refinement is not None and self.config.refining.start:
            generator.refinement.begin(generator.shared(1), self.train(self.config.refining.start).shared(1))
        return generator

    def _objective(self, part: str) -> Section:
        """`{kind: name, **arguments}` of what a part is trained with, complete with defaults."""
        for name in self.plain["starts"]:
            if name not in STARTS:
                raise ConfigError(f"starts: there is no {name!r}. {did_you_mean(name, STARTS)}")
        if part not in STARTS:
            section = dict(self.plain["objective"])
        else:
            section = {"kind": STARTS[part], **self.plain["starts"].get(part, {})}
        kind = section.pop("kind", None)
        if kind not in OBJECTIVES:
            raise ConfigError(f"objective.kind: there is no {kind!r}. {did_you_mean(str(kind), OBJECTIVES)}")
        return {"kind": kind, **typed(schema(OBJECTIVES[kind], without=["generator"]), section, name="objective")}

    def _loaded(self, folder: Path, objective: Section) -> Generator:
        """A finished part. Raises ConfigError if it was trained with another objective."""
        generator = Generator.from_pretrained(folder)
        before = generator.about["run"]["objective"]
        if before != objective:
            raise ConfigError(
                f"{folder} was trained with {before}, not {objective}. Remove it, or choose another name."
            )
        return generator

    def _step_sizes(self) -> Generator:
        """A generator folder of its own, whose shared weights are the step sizes."""
        start, finished = self.train("meta_sgd"), self.folder / STEP_SIZES
        if (finished / "config.yaml").exists():
            return Generator.from_pretrained(finished)
        objective = build(OBJECTIVES, self._objective("meta_sgd"), name="starts.meta_sgd", generator=start)
        objective.load_state_dict(load_file(self.folder / "meta_sgd" / OBJECTIVE))
        made = Generator(start.backbone, start.encoder, objective.step_sizes, start.text_encoder).eval()
        made.about = start.about
        if is_first_process():
            made.save_pretrained(finished)
        return made

    def _fit(self, generator: Generator, settings: Section, part: str) -> tuple[MetaTraining, str]:
        config = self.config
        steps, optim, episodes, validation = config.steps, config.optim, config.episodes, config.validation
        if self._refines(part):
            steps, episodes, validation = config.refining.steps, _shown(episodes), _shown(validation)
            optim = OmegaConf.merge(optim, {"lr": config.refining.lr or optim.lr})
        objective = build(OBJECTIVES, settings, name="objective", generator=generator)
        module = MetaTraining(generator, objective, optim, config.seed, steps)
        data = EpisodeData(
            self.training_tasks(generator),
            self.usable("validation", generator),
            episodes,
            validation,
            seed=config.seed,
            workers=config.workers,
        )
        folder = self.folder / f"{part}-checkpoints"
        best = ModelCheckpoint(
            folder, "best-{step}", **self._chosen_by(), save_on_train_epoch_end=True, auto_insert_metric_name=False
        )
        # apart, as the best one's own `save_last` writes nothing while nothing gets better
        newest = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
        trainer = new_trainer(
            self.plain["trainer"],
            steps=steps,
            folder=self.folder,
            logger=[kind(self.folder / "logs", part) for kind in (CSVLogger, TensorBoardLogger)],
            callbacks=[best, newest, *self._callbacks()],
        )
        self._write_config()
        fit(trainer, module, data, last=folder / "last.ckpt")
        generator.backbone.to("cpu")
        return module, best.best_model_path

    def _callbacks(self) -> Sequence[Callback]:
        patience = self.config.validation.patience
        return [EarlyStopping(**self._chosen_by(), patience=patience)] if patience else []

    def _chosen_by(self) -> dict[str, Any]:
        """What says which checkpoint is best, for Lightning's callbacks."""
        by = self.config.validation.monitor
        return {"monitor": f"val/{by}", "mode": MODES[by]}

    def _write_config(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, self.folder / "config.yaml")

    def _about(self, generator: Generator, state: dict[str, Any], objective: Section) -> dict[str, Any]:
        run = {**self.plain, "objective": objective}
        return {
            "hyperpeft": version("hyperpeft"),
            "best_step": int(state["global_step"]),
            "meta_train_tasks": sorted(task.name for task in self.training_tasks(generator)),
            "run": {key: value for key, value in run.items() if key not in UNTOLD},
        }

    def calibrate(self, generator: Generator) -> None:
        """Fit its temperatures on the meta-validation tasks and note where its meta-train tasks lie."""
        calibrate(generator, self.usable("train", generator), self.usable("validation", generator))

    def methods(self, generator: Generator, shared: Generator | None) -> list[Method]:
        """What the final table compares: baselines, ours, controls."""
        adapter = generator.hypernetwork.adapter
        baselines: list[Method] = [ZeroShot(adapter), Scratch(adapter)]
        if shared is not None:
            baselines.append(Multitask(shared))
        return [*baselines, *(Generated(generator, name) for name in CONDITIONINGS)]

    def evaluate(self, generator: Generator, shared: Generator | None, split: str = "test") -> list[Record]:
        """Measure on held-out tasks and write the records beside the generator."""
        settings = EvaluationSettings(**self.plain["evaluation"])
        tasks = self.usable(split, generator)
        file = self.folder / f"records-{split}.jsonl"
        file.unlink(missing_ok=True)
        return run_benchmark(self.methods(generator, shared), tasks, generator.backbone, settings, file=file)


def _is_kept(name: str, value: Tensor) -> bool:
    """Whether a refinement is trained with this parameter as it is."""
    return value.requires_grad and not name.startswith("refinement.")


def _set_trainable(values: Sequence[Tensor], *, trainable: bool) -> None:
    for value in values:
        value.requires_grad_(trainable)


def _shown(settings: Any) -> Any:
    """The same settings with examples in every episode."""
    return OmegaConf.merge(settings, {"shots": [shots for shots in settings.shots if shots]})


def _save_objective(objective: Objective, folder: Path) -> None:
    """What the objective has learned, beside the generator; nothing for one without parameters."""
    state = {name: value.detach().contiguous().cpu() for name, value in objective.state_dict().items()}
    if state:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / OBJECTIVE).write_bytes(safetensors_bytes(state, metadata={"format": "pt"}))
