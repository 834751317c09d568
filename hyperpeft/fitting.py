"""What every training here has in common: optimizer, Lightning trainer, going on from the last checkpoint."""

import inspect
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, RichProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import get_scheduler

from hyperpeft.config import ConfigError, did_you_mean

Loader = DataLoader[Any]
OURS = MappingProxyType(
    {
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
        "gradient_clip_val": 1.0,
        "use_distributed_sampler": False,
        "log_every_n_steps": 10,
    }
)
DECIDED = MappingProxyType(
    {
        "default_root_dir": "its files in output/name",
        "logger": "its logs there",
        "callbacks": "checkpoints, logs of the step size and a bar",
    }
)


@dataclass
class OptimSettings:
    """AdamW with warm-up. `schedule` is a name of transformers.get_scheduler; warmup is a share of the steps."""

    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    schedule: str = "cosine"


def adamw(
    decayed: Sequence[Tensor],
    others: Sequence[Tensor],
    optim: OptimSettings,
    steps: int,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
) -> OptimizerLRScheduler:
    """AdamW with weight decay on `decayed` alone, and its schedule, a value a step."""
    groups = [{"params": decayed, "weight_decay": optim.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=optim.lr, betas=betas)
    scheduler = get_scheduler(optim.schedule, optimizer, round(optim.warmup * steps), steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def new_trainer(
    settings: dict[str, Any], *, steps: int, folder: Path, logger: Sequence[Logger], callbacks: Sequence[Callback]
) -> lightning.Trainer:
    """A Trainer of so many steps that logs learning rates and shows a bar; the user's settings are on top of ours.

    Raises ConfigError for a setting that no Trainer has, or that a run decides.
    """
    known = inspect.signature(lightning.Trainer).parameters
    for name in settings:
        if name not in known:
            raise ConfigError(f"trainer has no setting {name!r}. {did_you_mean(name, known)}")
        if name in DECIDED:
            raise ConfigError(f"trainer.{name} is decided by the run: it keeps {DECIDED[name]}. Leave it out.")
    arguments = {**OURS, "max_steps": steps, **settings}
    bars = [RichProgressBar(console_kwargs={"stderr": True})] if settings.get("enable_progress_bar", True) else []
    return lightning.Trainer(
        **arguments, default_root_dir=folder, logger=logger, callbacks=[*bars, LearningRateMonitor("step"), *callbacks]
    )


def fit(
    trainer: lightning.Trainer,
    module: lightning.LightningModule,
    train: Loader | lightning.LightningDataModule,
    validation: Loader | None = None,
    *,
    last: Path,
) -> None:
    """Train, from the checkpoint `last` if there is one. Raises KeyboardInterrupt on Ctrl-C."""
    checkpoint = str(last) if last.exists() else None
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, train, validation, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning exits, and ignores Ctrl-C from then on
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from stop
        raise
