"""How far long work has come: a bar where somebody looks at stderr, and a line now and then where it goes to a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PAUSE_S = 30.0
"""Seconds between two lines of a log; work that is done sooner says nothing there."""


@contextmanager
def progress(what: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Gives the function to call with the number of things, of `total`, that have been done since the last call. `shown` False: nothing is told."""
    console = Console(stderr=True)
    if not shown:
        yield _silent
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            row = bar.add_task(what, total=total)
            yield lambda number: bar.advance(row, number)
    else:
        yield _Lines(what, total, console)


def _silent(_: int) -> None:
    """Where nobody is told."""


class _Lines:
    """`scoring test: 20 of 80, 3 min left`"""

    def __init__(self, what: str, total: int, console: Console) -> None:
        self._what, self._total, self._console = what, total, console
        self._done = 0
        self._start = self._last = time.monotonic()

    def __call__(self, number: int) -> None:
        self._done += number
        now = time.monotonic()
        if now - self._last < PAUSE_S or self._done == self._total:
            return
        self._last = now
        left = (now - self._start) / self._done * (self._total - self._done)
        told = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        self._console.print(f"{self._what}: {self._done} of {self._total}, {told} left", highlight=False, soft_wrap=True)
