"""Temperatures: what they change, what they leave, and that the fitted one is the best one."""

import pytest
import torch
from torch import Tensor

from hyperpeft.benchmark import _bins
from hyperpeft.calibration import (
    BOUNDS,
    REGIMES,
    Calibration,
    calibration_errors,
    fit_temperature,
    regime,
    tempered,
)
from hyperpeft.config import ConfigError
from hyperpeft.report.findings import _calibration


def answers(temperature: float, tasks: int = 3, rows: int = 4000, labels: int = 4) -> list[tuple[Tensor, Tensor]]:
    """Probabilities of logits whose right labels were drawn at another temperature."""
    random = torch.Generator().manual_seed(0)
    found = []
    for _ in range(tasks):
        logits = 3 * torch.randn(rows, labels, generator=random)
        right = torch.multinomial((logits / temperature).softmax(-1), 1, generator=random)[:, 0]
        found.append((logits.softmax(-1), right))
    return found


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_fit_finds_the_temperature_that_labels_were_drawn_at(temperature: float) -> None:
    found = answers(temperature)
    fitted = fit_temperature(found)
    assert fitted == pytest.approx(temperature, rel=0.05)
    losses = {t: calibration_errors(found, t)[0] for t in (fitted, 0.97 * fitted, 1.03 * fitted)}
    assert min(losses, key=lambda t: losses[t]) == fitted
    assert fit_temperature(found) == fitted


def test_each_task_counts_alike() -> None:
    sharp, flat = answers(0.5, tasks=1)[0], answers(4.0, tasks=1)[0]
    few = (flat[0][:400], flat[1][:400])
    assert fit_temperature([sharp, few]) == pytest.approx(fit_temperature([sharp, flat]), rel=0.1)
    assert fit_temperature([sharp]) < 0.6 * fit_temperature([sharp, few])


def test_an_answer_always_right_ends_at_a_bound() -> None:
    sure = torch.tensor([[0.6, 0.4]]).repeat(20, 1)
    assert fit_temperature([(sure, torch.zeros(20, dtype=torch.long))]) == pytest.approx(BOUNDS[0], rel=0.05)
    assert fit_temperature([(sure, torch.ones(20, dtype=torch.long))]) == pytest.approx(BOUNDS[1], rel=0.05)


def test_a_temperature_divides_the_logits_and_keeps_the_order() -> None:
    logits = 5 * torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    for temperature in (0.3, 2.5):
        warm = tempered(logits.softmax(-1), temperature)
        torch.testing.assert_close(warm, (logits / temperature).softmax(-1), atol=1e-5, rtol=1e-3)
        assert torch.equal(warm.argmax(-1), logits.argmax(-1))
        assert warm.dtype == logits.dtype


def test_the_error_is_that_of_the_report() -> None:
    found = answers(2.0, rows=200)
    bins: list[list[float]] = []
    for probabilities, right in found:
        sure, chosen = probabilities.double().max(dim=1)
        bins += _bins(sure.tolist(), (chosen == right).tolist())
    assert calibration_errors(found, 1.0)[1] == pytest.approx(_calibration(bins)[1], abs=1e-6)


def test_regimes() -> None:
    assert regime("generated", 0, shown=False) == "description"
    assert regime("generated", 0, shown=True) == "examples"
    assert regime("shared adapter", 0, shown=True) == "shared adapter"
    assert regime("no adapter", 0, shown=False) == "no adapter"
    assert regime("shared adapter", 5, shown=True) == regime("generated", True, shown=True) == "fine-tuned"


def test_only_named_regimes_change() -> None:
    rows = answers(1.0, tasks=1, rows=5)[0][0]
    calibration = Calibration({"examples": 2.0})
    assert torch.equal(calibration.apply(rows, "examples"), tempered(rows, 2.0))
    torch.testing.assert_close(calibration.apply(rows, "description"), rows)


def test_it_is_read_back_from_its_settings() -> None:
    calibration = Calibration(dict.fromkeys(REGIMES, 1.5), far=0.4)
    assert Calibration.read(calibration.settings()) == calibration
    assert Calibration.read(None) is None


@pytest.mark.parametrize(
    "section", [{"temperatures": {"exmples": 2.0}}, {"temperatures": {"examples": 0.0}}, {"far": 0.1}, {"T": 1}, "warm"]
)
def test_a_damaged_section_is_named(section: object) -> None:
    with pytest.raises(ConfigError, match="calibration"):
        Calibration.read(section)  # type: ignore[arg-type]
