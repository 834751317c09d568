"""What a corpus is: something that yields tasks."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from hyperpeft.tasks import Task


class Corpus(ABC):
    """A source of tasks; `read()` yields them in a fixed order. Raises TaskError naming file, line and field."""

    splits: str | None

    @abstractmethod
    def read(self) -> Iterator[Task]:
        """Yield every task, in the same order each time."""
