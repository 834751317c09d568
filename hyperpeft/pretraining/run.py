"""A pretraining run: from its configuration to a folder that any causal language model backbone can be."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copymode
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import LlamaForCausalLM

from hyperpeft.config import ConfigError, build
from hyperpeft.corpora import CORPORA
from hyperpeft.fitting import OptimSettings, adamw, fit, new_trainer
from hyperpeft.meta_splits import split_tasks
from hyperpeft.pretraining.codes import code_prompts, save_code_prompts
from hyperpeft.pretraining.sequences import IGNORED, Sequences, SequenceSettings, codes_of
from hyperpeft.pretraining.tiny import character_tokenizer, small_llama
from hyperpeft.tasks import Task, unique_by_name

log = logging.getLogger(__name__)
Section = dict[str, Any]
VALIDATION_BATCHES = 8


@dataclass
class PretrainConfig:
    """Everything that a pretraining run is made from. The folder `output/name` holds it and, at the end, `backbone`.

    Beside it `codes`: the tokens with which the training tasks were told, as adapters (see `pretraining.codes`).

    corpus: only its training tasks are learned from. model: arguments of LlamaConfig, whose vocabulary is the
    tokenizer's. every: steps between checkpoints and looks at the validation tasks.
    """

    name: str = "letters_backbone"
    output: str = "outputs"
    seed: int = 0
    steps: int = 3000
    every: int = 250
    threads: int | None = None
    corpus: Section = field(default_factory=lambda: {"kind": "procedural", "tasks": 2000})
    model: Section = field(default_factory=dict)
    sequences: SequenceSettings = field(default_factory=SequenceSettings)
    optim: OptimSettings = field(default_factory=lambda: OptimSettings(lr=3e-3, warmup=0.05))
    trainer: Section = field(default_factory=dict)


def pretrain(config: DictConfig) -> Path:
    """Train (or go on from the last checkpoint, or find finished) a model: its folder, in bf16, with the tokenizer.

    Raises ConfigError if the folder holds a run of other settings.
    """
    plain: Any = OmegaConf.to_container(config, resolve=True)
    folder = Path(plain["output"]) / plain["name"]
    finished = folder / "backbone"
    _check_folder(folder, plain)
    if (finished / "config.json").exists():
        log.info("%s is trained already", finished)
        return finished
    if plain["threads"]:
        torch.set_num_threads(plain["threads"])
    tokenizer = character_tokenizer()
    tasks = _tasks(plain["corpus"])
    codes = codes_of([*tasks["train"], *tasks["validation"]], len(tokenizer))
    model = small_llama(tokenizer, plain["model"], seed=plain["seed"], extra=len(codes))
    settings = SequenceSettings(**plain["sequences"])
    parts = {name: Sequences(tasks[name], tokenizer, settings, codes) for name in ("train", "validation")}
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml")
    _fit(Pretraining(model, OptimSettings(**plain["optim"]), plain["steps"]), parts, plain, folder)
    known = code_prompts(model.get_input_embeddings().weight.detach(), tokenizer.bos_token_id, codes, tasks["train"])
    model.resize_token_embeddings(len(tokenizer))
    model.to(dtype=torch.bfloat16).save_pretrained(finished)
    tokenizer.save_pretrained(finished)
    copymode(finished / "config.json", finished / "model.safetensors")  # transformers makes it its owner's only
    save_code_prompts(known, tasks["train"], finished, folder / "codes")
    return finished


def _tasks(settings: Section) -> dict[str, list[Task]]:
    corpus = build(CORPORA, settings, name="corpus")
    return split_tasks(unique_by_name(corpus.read()), corpus.splits)


def _check_folder(folder: Path, plain: Section) -> None:
    file = folder / "config.yaml"
    before: Any = OmegaConf.to_container(OmegaConf.load(file)) if file.exists() else plain
    free = {"output", "threads"}
    changed = sorted(key for key in plain if key not in free and before.get(key) != plain[key])
    if changed:
        raise ConfigError(
            f"{folder} holds a run with other settings for {', '.join(changed)}. "
            "Choose another name=..., or remove the folder."
        )


def _fit(module: "Pretraining", parts: dict[str, Sequences], plain: Section, folder: Path) -> None:
    keep = ModelCheckpoint(folder / "checkpoints", "newest", save_last=True, save_on_train_epoch_end=True)
    trainer = new_trainer(
        plain["trainer"], steps=plain["steps"], folder=folder, logger=[CSVLogger(folder, "logs")], callbacks=[keep]
    )
    train, validation = (_Batches(parts[name], f"{plain['seed']}/{name}") for name in ("train", "validation"))
    fit(
        trainer,
        module,
        DataLoader(train, batch_size=None, sampler=_Epoch(trainer, plain["every"])),
        DataLoader(validation, batch_size=None, sampler=range(VALIDATION_BATCHES)),
        last=folder / "checkpoints" / "last.ckpt",
    )


class Pretraining(lightning.LightningModule):
    """Next-token loss on the targets: steps, optimizer and logging."""

    def __init__(self, model: LlamaForCausalLM, optim: OptimSettings, steps: int):
        super().__init__()
        self.model = model
        self.optim = optim
        self.steps = steps

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Mean loss over the batch's targets."""
        return self._loss("train", batch)

    def validation_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """The same on tasks that are not trained on."""
        return self._loss("val", batch)

    def _loss(self, part: str, batch: dict[str, Tensor]) -> Tensor:
        targets = batch["targets"][:, 1:]
        logits = self.model(input_ids=batch["ids"], attention_mask=batch["mask"]).logits[:, :-1].float()
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        real = targets != IGNORED
        values = {f"{part}/loss": loss, f"{part}/accuracy": (logits.argmax(-1) == targets)[real].float().mean()}
        training = part == "train"
        self.log_dict(values, prog_bar=True, batch_size=len(targets), on_step=training, on_epoch=not training)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Weight decay on matrices only."""
        parameters = list(self.model.parameters())
        matrices, others = [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]
        return adamw(matrices, others, self.optim, self.steps, betas=(0.9, 0.98))


class _Batches(Dataset[dict[str, Tensor]]):
    def __init__(self, sequences: Sequences, key: str):
        self.sequences = sequences
        self.key = key

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.sequences.batch(f"{self.key}/{index}")


class _Epoch(Sampler[int]):
    """Numbers of the batches of `every` steps for one process, from the trainer's step on.

    Not from its epoch, which Lightning 2.6 counts twice after a restart from a checkpoint of an epoch's end.
    """

    def __init__(self, trainer: lightning.Trainer, every: int):
        self.trainer = trainer
        self.batches = every * trainer.accumulate_grad_batches

    def __iter__(self) -> Iterator[int]:
        trainer = self.trainer
        world = trainer.world_size
        start = trainer.global_step * trainer.accumulate_grad_batches * world
        return iter(range(start + trainer.global_rank, start + self.batches * world, world))

    def __len__(self) -> int:
        return self.batches
