"""Records of a benchmark, one a cell, and the JSONL file that keeps them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """One cell: a method on a task's query after so many fine-tune steps, and what adapting took.

    score: of the metric, in [0, 1]. loss: mean negative log probability of the right label, confidence: mean
    probability of the chosen one; None for free text. bins: (bin, answers, sum of confidences, right ones) for each
    used tenth of the confidences, from which calibration is computed. Costs are of adapting (proposing and fine-tuning,
    not of answering), shared evenly among the tasks adapted together; flops are those that torch does, counted on one
    group of tasks for each method and number of shots. peak_bytes is the group's. parameters: trainable ones a task.
    """

    method: str
    task: str
    shots: int
    steps: int
    seed: int
    metric: str
    score: float
    loss: float | None
    confidence: float | None
    seconds: float
    cpu_seconds: float
    flops: int
    peak_bytes: int | None
    joules: float | None
    parameters: int
    bins: Sequence[Sequence[float]] | None = None

    @property
    def key(self) -> tuple[str, str, int, int, int]:
        """(method, task, shots, steps, seed): there is one record of each."""
        return self.method, self.task, self.shots, self.steps, self.seed


def read_records(file: Path) -> list[Record]:
    """Records of a JSONL file; a last line cut short by a crash is left out and removed."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
        file.write_text("".join(lines), encoding="utf-8")
    try:
        return [Record(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{file} holds other records than this version writes ({error}). Choose another name=..."
        ) from error


def append_records(records: Sequence[Record], file: Path) -> None:
    """Add them at the end of the file, which is made with its folder where there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write("".join(json.dumps(asdict(record)) + "\n" for record in records))
