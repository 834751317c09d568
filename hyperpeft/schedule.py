"""How long and how fast to fine-tune a task, asked of its own examples by cross-validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hyperpeft.adaptation import FinetuneSettings, trajectories
from hyperpeft.backbones import Backbone
from hyperpeft.calibration import Calibration
from hyperpeft.selection import FOLDS, Start, divisible, folds
from hyperpeft.tasks import Episode

STEPS = (0, 5, 10, 20, 40)
FACTORS = (0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Schedule:
    """A fine-tune's number of steps and step size, and how they were chosen, in words."""

    steps: int
    lr: float
    how: str


def step_size(asked: float | None, calibration: Calibration | None) -> float:
    """Of a fine-tune: as asked, else what was best on the generator's meta-validation tasks, else 1e-3."""
    if asked is not None:
        return asked
    return FinetuneSettings.lr if calibration is None or calibration.lr is None else calibration.lr


def choose_schedule(
    backbone: Backbone[Any], episode: Episode, start: Start, default: FinetuneSettings, *, seen: bool = False
) -> Schedule:
    """Of STEPS x FACTORS times the default step size, those of lowest loss on examples that were not trained on.

    The support in FOLDS parts, each left out once, at every step size: all are tasks of one fine-tune. Of equals the
    fewest steps. Where examples cannot be left out (`divisible`) the default. `start` makes the weights to begin with
    from the part of the support that it is given; `seen`: whether it was made from the left-out examples too, which the
    record then says. Deterministic; never sees the query.
    """
    if not divisible(episode):
        return Schedule(default.steps, default.lr, "the default: to choose takes two examples of each label, or four")
    parts = folds(episode, default.seed)
    lrs = [factor * default.lr for factor in FACTORS]
    losses = _losses(backbone, parts, start, default, lrs)
    steps, lr = min(losses, key=lambda cell: (losses[cell], cell))
    note = "; the start had seen them, which makes fewer steps look better" if seen else ""
    return Schedule(steps, lr if steps else default.lr, f"cross-validated on {len(episode.support)} examples{note}")


def _losses(
    backbone: Backbone[Any], parts: Sequence[Episode], start: Start, settings: FinetuneSettings, lrs: Sequence[float]
) -> dict[tuple[int, float], float]:
    """Mean loss of the left-out examples by number of steps and step size."""
    shown = [part.with_query(()) for part in parts]
    sizes = torch.tensor([len(part.query) for part in parts], dtype=torch.float)
    batch = backbone.query_batch([*parts] * len(lrs))
    losses = {}
    run = trajectories(backbone, start(shown), shown, settings, STEPS, lrs)
    for steps, weights in zip(STEPS, run, strict=True):
        with torch.no_grad(), backbone.adapted(weights):
            found = backbone.loss(batch).cpu().reshape(len(lrs), FOLDS)
        for lr, row in zip(lrs, found, strict=True):
            losses[steps, lr] = float((row * sizes).sum() / sizes.sum())
    return losses
