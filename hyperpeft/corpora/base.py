"""What a corpus is: something that yields tasks."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from hyperpeft.config import did_you_mean
from hyperpeft.metrics import METRICS
from hyperpeft.tasks import Task, TaskError


class Corpus(ABC):
    """A source of tasks; `read()` yields them in a fixed order. Raises TaskError naming file, line and field.

    `splits`: what `meta_splits.split_tasks` takes: a file, a folder, or a mapping task -> split; None makes splits.
    `weight`: how often its families are drawn for meta-training, against those of other parts of a mixture.
    """

    splits: str | Mapping[str, str] | None
    weight: float = 1.0

    @abstractmethod
    def read(self) -> Iterator[Task]:
        """Yield every task, in the same order each time."""


def known_metric(name: object) -> str:
    """The name of a metric as read from a file; raises TaskError if METRICS has none such."""
    if isinstance(name, str) and name in METRICS:
        return name
    raise TaskError(f"metric {name!r} does not exist. {did_you_mean(str(name), METRICS)}")
