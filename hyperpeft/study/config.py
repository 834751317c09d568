"""What a benchmark is made from."""

from dataclasses import dataclass, field
from typing import Any

from hyperpeft.benchmark import EvaluationSettings
from hyperpeft.report import ReportSettings
from hyperpeft.tuning import TuningSettings


@dataclass
class BenchmarkConfig:
    """Everything that a benchmark is made from. Its folder is `output/name`.

    generator: a folder; null: the one inside the package. corpus: the tasks that are measured and tuned on; null: the
    corpus that the generator was meta-trained on. split: `test`, or `validation` while developing. methods: names in
    METHODS; null: all that can be used. In one folder only methods, report, threads and output may
    change; shots, steps and seeds of the evaluation may grow or differ: what was measured stays.
    """

    name: str = "benchmark"
    output: str = "outputs"
    generator: str | None = None
    corpus: dict[str, Any] | None = None
    split: str = "test"
    methods: list[str] | None = None
    threads: int | None = None
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    tuning: TuningSettings = field(default_factory=TuningSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
