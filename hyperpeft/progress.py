"""Long work shown as it goes: a bar with the time left on a terminal, a log line each tenth of it elsewhere."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

log = logging.getLogger(__name__)
Item = TypeVar("Item")


def followed(
    items: Sequence[Item], work: Callable[[Item], float], describe: Callable[[Item], str], *, name: str
) -> Iterator[Item]:
    """The items, one by one; `work` says how long each takes relative to the others. Everything goes to stderr."""
    console = Console(stderr=True)
    bar = _Bar(name, sum(map(work, items)), console)
    with bar.shown if console.is_terminal else nullcontext():
        for item in items:
            bar.show(describe(item))
            yield item
            bar.advance(work(item))


class _Bar:
    """Progress in units of work."""

    def __init__(self, name: str, whole: float, console: Console):
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        # the time left is judged from the last hour: pieces of work may take many minutes
        self.shown = Progress(*columns, TimeRemainingColumn(), console=console, speed_estimate_period=3600)
        self.name, self.whole, self.done, self.told = name, whole, 0.0, 0
        self.begun = time.monotonic()
        self.row = self.shown.add_task(name, total=whole)

    def show(self, description: str) -> None:
        self.shown.update(self.row, description=f"{self.name}: {description}")

    def advance(self, work: float) -> None:
        self.done += work
        self.shown.update(self.row, completed=self.done)
        tenth = int(10 * self.done / self.whole) if self.whole else 10
        if tenth > self.told and not self.shown.console.is_terminal:
            self.told = tenth
            spent = (time.monotonic() - self.begun) / 60
            left = spent * (self.whole - self.done) / self.done
            log.info("%s: %d %% done in %.1f min, about %.1f min left", self.name, 10 * tenth, spent, left)
