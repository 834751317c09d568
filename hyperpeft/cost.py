"""What a piece of work costs: wall and CPU seconds, memory, energy, floating-point operations."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch
from torch.utils.flop_counter import FlopCounterMode

RAPL = Path("/sys/class/powercap/intel-rapl:0")
PROCESS = Path("/proc/self")


@dataclass
class Meter:
    """Measures the body of a `with`.

    seconds: wall. cpu_seconds: of all threads of the process. peak_bytes: most memory held above the beginning (the
    accelerator's allocator if there is one, else the process's resident set; None where neither can be read). joules:
    of the processor package by RAPL, None where the machine does not expose it.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int | None = None
    joules: float | None = None

    def __enter__(self) -> "Meter":
        self._memory = _reset_peak()
        self._energy = _energy()
        self._cpu = time.process_time()
        self._wall = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self._wall
        self.cpu_seconds = time.process_time() - self._cpu
        peak, energy = _peak(), _energy()
        self.peak_bytes = max(0, peak - self._memory) if peak is not None and self._memory is not None else None
        self.joules = _joules(self._energy, energy)


def flops(work: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products, forward and backward, that the work does in torch."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def _reset_peak() -> int | None:
    """Bytes held now, from which a new peak is counted."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return None
    return _peak()


def _peak() -> int | None:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        lines = (PROCESS / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)


def _energy() -> int | None:
    """Micro-joules of the processor package so far."""
    return _number(RAPL / "energy_uj")


def _joules(before: int | None, after: int | None) -> float | None:
    """The meter begins again at zero when it is full: after less than an hour of full load."""
    if before is None or after is None:
        return None
    full = _number(RAPL / "max_energy_range_uj")
    if after < before and full is None:
        return None
    return (after - before + (full or 0) * (after < before)) / 1e6


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
