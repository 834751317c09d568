"""What work costs, against numbers known beforehand."""

import time
from pathlib import Path

import pytest
import torch

from hyperpeft import cost
from hyperpeft.cost import Meter, flops


def test_waiting_takes_wall_time_and_hardly_any_processor_time() -> None:
    with Meter() as meter:
        time.sleep(0.2)
    assert 0.2 <= meter.seconds < 2
    assert meter.cpu_seconds < 0.1


def test_work_takes_processor_time() -> None:
    with Meter() as meter:
        begun = time.process_time()
        while time.process_time() - begun < 0.1:
            pass
    assert 0.1 <= meter.cpu_seconds < 1


def test_flops_of_a_matrix_product_and_its_gradients() -> None:
    a, b = torch.randn(7, 5, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    assert flops(lambda: a @ b) == 2 * 7 * 5 * 3
    assert flops(lambda: (a @ b).sum().backward()) == 3 * 2 * 7 * 5 * 3


def test_the_peak_is_above_what_was_held_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cost, "PROCESS", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  1000 kB\n")
    with Meter() as meter:
        status.write_text("Name:\tpython\nVmHWM:\t  1500 kB\n")
    assert meter.peak_bytes == 500 * 1024


def meter_of(folder: Path, before: int, after: int) -> float | None:
    (folder / "energy_uj").write_text(str(before))
    with Meter() as meter:
        (folder / "energy_uj").write_text(str(after))
    return meter.joules


def test_energy_is_read_where_the_machine_exposes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cost, "RAPL", tmp_path)
    with Meter() as meter:
        pass
    assert meter.joules is None
    assert meter_of(tmp_path, 1_000_000, 3_500_000) == pytest.approx(2.5)
    assert meter_of(tmp_path, 9_000_000, 1_000_000) is None
    (tmp_path / "max_energy_range_uj").write_text("10000000")
    assert meter_of(tmp_path, 9_000_000, 1_000_000) == pytest.approx(2.0)


def test_a_meter_ends_with_its_numbers_on_an_error() -> None:
    meter = Meter()
    with pytest.raises(KeyError), meter:
        raise KeyError
    assert meter.seconds > 0
