"""Work on numbered things by several processes, whose results come in the order of the numbers: nothing depends on how many processes there are."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from segline.errors import DataError
from segline.machine import cores

T = TypeVar("T")

_BATCH = 8
"""Numbers that a process gets at a time: few enough that all end at about the same time."""

_AHEAD = 4
"""Batches that wait for each process, or for whoever takes the results: memory is bounded by these."""

_work: Callable[[int], Any] | None = None
"""In a child process: what it was made for."""


def processes_for(number: int) -> int:
    """How many processes are worth starting for a number of things: 1 where the system cannot fork, and for few of them."""
    if "fork" not in multiprocessing.get_all_start_methods() or multiprocessing.parent_process() is not None:
        return 1
    return max(1, min(cores(), number // (2 * _BATCH)))


@contextmanager
def in_order(work: Callable[[int], T], numbers: Sequence[int], processes: int) -> Iterator[Iterator[T]]:
    """Gives the results of `work` for each number, by `processes` forked from this one, which share what it has read; 1: by this process itself.

    Processes begin when the block is entered, and have ended when it is left. While results are taken, what `work` raises is raised, and DataError when a
    process was killed.
    """
    if processes == 1:
        yield map(work, numbers)
        return
    gc.collect()
    gc.freeze()  # collecting would write to pages that are shared, and so copy them
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork"), initializer=_begin, initargs=(work,))
    try:
        batches = iter([tuple(numbers[start : start + _BATCH]) for start in range(0, len(numbers), _BATCH)])
        with warnings.catch_warnings():
            # Python 3.12 warns of threads that a fork leaves behind: those of numpy's linear algebra, which no child uses.
            warnings.simplefilter("ignore", DeprecationWarning)
            waiting = deque(pool.submit(_do, batch) for batch in islice(batches, _AHEAD * processes))
        yield _results(pool, waiting, batches)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        gc.unfreeze()


def _results(pool: ProcessPoolExecutor, waiting: deque[Future[list[Any]]], batches: Iterator[tuple[int, ...]]) -> Iterator[Any]:
    """The results of the batches that wait, and then of the others; as one is taken, the next is handed in."""
    try:
        while waiting:
            results = waiting.popleft().result()
            waiting.extend(pool.submit(_do, batch) for batch in islice(batches, 1))
            yield from results
    except BrokenProcessPool:
        raise DataError(
            "A process that read images was killed, most likely because memory ran short. Close what else runs, or let fewer processes read: "
            "`taskset -c 0 dvc repro` uses one."
        ) from None


def _begin(work: Callable[[int], Any]) -> None:
    """In the child. It leaves an interruption to its parent, and does not outlive it."""
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do(numbers: Sequence[int]) -> list[Any]:
    assert _work is not None
    return [_work(number) for number in numbers]
