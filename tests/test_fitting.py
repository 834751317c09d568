"""What every training has in common."""

import signal
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hyperpeft.config import ConfigError
from hyperpeft.fitting import OptimSettings, adamw, fit, new_trainer

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_checkpointing": False}


class Line(lightning.LightningModule):
    """y = w x + b, with a stop of the given kind on the second step."""

    def __init__(self, stop: BaseException | None = None):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.stop = stop

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        if index == 1 and self.stop is not None:
            raise self.stop
        return (self.layer(batch) - 2 * batch).square().mean()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return adamw([self.layer.weight], [self.layer.bias], OptimSettings(lr=0.1), self.trainer.max_steps)


def trainer(folder: Path, **settings: Any) -> lightning.Trainer:
    return new_trainer({**QUIET, **settings}, steps=3, folder=folder, logger=[CSVLogger(folder)], callbacks=[])


def data() -> DataLoader[Any]:
    return DataLoader(torch.ones(8, 1), batch_size=1)  # type: ignore[arg-type]


def test_a_setting_that_no_trainer_has_or_a_run_decides_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer has no setting 'max_stps'. Did you mean 'max_steps'"):
        trainer(tmp_path, max_stps=2)
    for name in ("logger", "callbacks", "default_root_dir"):
        with pytest.raises(ConfigError, match=rf"trainer\.{name} is decided by the run"):
            trainer(tmp_path, **{name: None})


@pytest.mark.filterwarnings("ignore")
def test_the_users_settings_are_on_top_of_ours(tmp_path: Path) -> None:
    ours, theirs = trainer(tmp_path), trainer(tmp_path, max_steps=5, gradient_clip_val=0.5)
    assert (ours.max_steps, ours.gradient_clip_val) == (3, 1.0)
    assert (theirs.max_steps, theirs.gradient_clip_val) == (5, 0.5)
    assert not ours.progress_bar_callback
    assert trainer(tmp_path, enable_progress_bar=True).progress_bar_callback


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(3), RuntimeError("broken")])
def test_an_end_before_the_end_is_what_it_was(tmp_path: Path, stop: BaseException) -> None:
    """Lightning itself turns Ctrl-C into SystemExit(1), and into nothing from then on."""
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(type(stop)) as raised:
        fit(trainer(tmp_path), Line(stop), data(), last=tmp_path / "last.ckpt")
    assert getattr(raised.value, "code", None) == getattr(stop, "code", None)
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.filterwarnings("ignore")
def test_it_goes_on_from_the_last_checkpoint_if_there_is_one(tmp_path: Path) -> None:
    last, begun = tmp_path / "last.ckpt", trainer(tmp_path)
    fit(begun, Line(), data(), last=last)
    begun.save_checkpoint(last)
    going_on = trainer(tmp_path, max_steps=4)
    fit(going_on, Line(), data(), last=last)
    assert (begun.global_step, going_on.global_step) == (3, 4)
    assert going_on.fit_loop.epoch_loop.batch_progress.total.completed == 4


def test_weights_decay_and_step_sizes_follow_the_settings() -> None:
    matrix, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    made: Any = adamw([matrix], [bias], OptimSettings(lr=0.1, weight_decay=0.5, warmup=0.2, schedule="linear"), 10)
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    sizes = []
    for _ in range(10):
        matrix.grad, bias.grad = torch.zeros_like(matrix), torch.zeros_like(bias)
        sizes.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert sizes == pytest.approx([0.0, 0.05, *(0.1 * left / 8 for left in range(8, 0, -1))])
    expected = torch.tensor([1 - 0.5 * size for size in sizes]).prod()
    torch.testing.assert_close(matrix.detach(), expected.expand(2, 2))
    assert torch.equal(bias.detach(), torch.ones(2))
