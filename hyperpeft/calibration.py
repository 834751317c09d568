"""Temperatures that make label probabilities say how often they are right."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from hyperpeft.config import ConfigError

BOUNDS = (0.05, 20.0)
REGIMES = ("description", "examples", "fine-tuned", "shared adapter", "no adapter")


def regime(choice: str, tuned: bool | int, *, shown: bool) -> str:
    """Which of REGIMES an adapter is in: fine-tuned or a start without the task's own part, else by what it was given.

    choice: as in `Adapter.choice`. tuned: whether it was fine-tuned, or by how many steps. shown: whether there is
    support.
    """
    if tuned:
        return "fine-tuned"
    return choice if choice in REGIMES else "examples" if shown else "description"


@dataclass(frozen=True)
class Calibration:
    """What a generator learned from meta-validation tasks about its own answers.

    temperatures: by name in REGIMES; label probabilities p become p^(1/T), normalised, so the order of labels stays.
    Guo et al. 2017, arXiv:1706.04599. far: the cosine distance to the nearest meta-train task that one meta-validation
    task in twenty exceeds; None where the generator holds no meta-train tasks. lr: the step size of a fine-tune that
    was best there; None where none was tried. Raises ConfigError for a name that is no regime and for numbers that are
    not above zero.
    """

    temperatures: Mapping[str, float]
    far: float | None = None
    lr: float | None = None

    def __post_init__(self) -> None:
        strange = sorted(set(self.temperatures) - set(REGIMES))
        if strange or not all(value > 0 for value in self.temperatures.values()):
            raise ConfigError(f"calibration: temperatures above zero are needed for {REGIMES}: {self.temperatures}.")
        if self.lr is not None and not self.lr > 0:
            raise ConfigError(f"calibration: lr is {self.lr}: a step size is above zero.")

    def apply(self, probabilities: Tensor, name: str) -> Tensor:
        """`[row label]` at the temperature of a regime."""
        return tempered(probabilities, self.temperature(name))

    def temperature(self, name: str) -> float:
        """Of a regime; 1, which changes nothing, where none was fitted for it."""
        return self.temperatures.get(name, 1.0)

    def settings(self) -> dict[str, Any]:
        """As plain containers, for files."""
        return asdict(self)

    @classmethod
    def read(cls, section: Mapping[str, Any] | None) -> "Calibration | None":
        """From what `settings` gave; None where there is nothing. Raises ConfigError for anything else."""
        if section is None:
            return None
        try:
            return cls(**section)
        except (TypeError, AttributeError) as error:
            raise ConfigError(f"calibration cannot be read from {section!r}: {error}") from error


def tempered(probabilities: Tensor, temperature: float) -> Tensor:
    """softmax(log p / T) over the last axis: equal to dividing the logits that p came from by T."""
    return (_logs(probabilities) / temperature).softmax(-1).to(probabilities.dtype)


def fit_temperature(answers: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The temperature in BOUNDS of least negative log-likelihood, each task counted alike.

    answers: for each task probabilities `[row label]` and the index of the right label `[row]`.
    """
    logs = [(_logs(probabilities), right) for probabilities, right in answers]

    def mean_loss(log_temperature: float) -> float:
        scale = float(np.exp(-log_temperature))
        return float(np.mean([_loss(values * scale, right) for values, right in logs]))

    found = minimize_scalar(mean_loss, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 1e-3})
    return round(float(np.exp(found.x)), 3)


def calibration_errors(answers: Sequence[tuple[Tensor, Tensor]], temperature: float) -> tuple[float, float]:
    """Mean over tasks of the negative log-likelihood, and the expected calibration error in ten bins over all rows."""
    rows = [(tempered(probabilities.double(), temperature), right) for probabilities, right in answers]
    loss = float(np.mean([_loss(_logs(probabilities), right) for probabilities, right in rows]))
    best = [probabilities.max(-1) for probabilities, _ in rows]
    sure = torch.cat([found.values for found in best])
    hits = torch.cat([found.indices == right for found, (_, right) in zip(best, rows, strict=True)]).double()
    place = (10 * sure).long().clamp(max=9)
    gaps = torch.zeros(10, dtype=torch.double).index_add(0, place, sure - hits)
    return loss, float(gaps.abs().sum() / len(sure))


def _logs(probabilities: Tensor) -> Tensor:
    return probabilities.detach().cpu().double().clamp(min=1e-38).log()


def _loss(logits: Tensor, right: Tensor) -> float:
    return float(torch.nn.functional.cross_entropy(logits, right))
