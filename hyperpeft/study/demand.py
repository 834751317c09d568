"""Meta-train tasks that are read when a method asks for them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hyperpeft.config import ConfigError
from hyperpeft.tasks import Task


class NotYetMadeError(Exception):
    """A method needs something, named by this, that is made from the meta-train tasks first."""


class UnavailableError(ConfigError):
    """What a method is made from is not on this machine."""


class TasksOnDemand(Sequence[Task]):
    """The tasks that `read` gives, read when they are first looked at. `loaded`: those, or none while not read."""

    def __init__(self, read: Callable[[], Sequence[Task]]):
        self._read = read
        self.loaded: Sequence[Task] = ()
        self._is_read = False

    def __len__(self) -> int:
        return len(self._tasks())

    def __getitem__(self, index: Any) -> Any:
        return self._tasks()[index]

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks())

    def _tasks(self) -> Sequence[Task]:
        if not self._is_read:
            self.loaded, self._is_read = self._read(), True
        return self.loaded
