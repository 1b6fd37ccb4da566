"""The run of a training as it happens, written from a thread, so that no server can hold the training up."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from segline.card import ModelCard
from segline.errors import TrackingError
from segline.tracking.patience import BUDGET_S, patience
from segline.tracking.runs import finite, log_steps, logged_steps, open_run
from segline.tracking.store import connect, told

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 120.0
_TIMEOUT_S = 10.0
_INTERRUPTED_S = 3.0

Status = Literal["FINISHED", "FAILED", "KILLED"]
Metrics = Mapping[str, float]


@contextmanager
def following(store: str, *, budget_s: float = BUDGET_S) -> Iterator[Callable[[ModelCard], Callable[[int, Metrics], None]]]:
    """For the time of a training: a function that opens the run of a card and gives back what is to be called with (epoch, metrics).

    The run ends as finished, failed or killed, as the block does.
    """
    opened: list[LiveRun] = []

    def follow(card: ModelCard) -> Callable[[int, Metrics], None]:
        opened.append(LiveRun(store, card, budget_s=budget_s))
        return opened[-1].log

    status: Status = "FAILED"
    try:
        yield follow
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        for run in opened:
            run.close(status)


class LiveRun:
    """One MLflow run that grows with a training. An interrupted training that goes on continues its run; no step is logged twice.

    MLflow is imported and the server spoken to in a daemon thread alone, which dies with the process. When the store fails, one sentence is printed,
    the thread tries again with growing pauses, and the training goes on; what is still missing at the end is in history.csv and is sent by
    `segline.tracking.record`. Only `close` waits: at most `budget_s` seconds, less what this process has already lost to the same store.
    """

    def __init__(self, store: str, card: ModelCard, *, budget_s: float = BUDGET_S) -> None:
        self._store = store
        self._card = card
        self._budget_s = budget_s
        self._timeout_s = min(_TIMEOUT_S, budget_s)
        self._start_ms = _now_ms()
        self._queue: queue.SimpleQueue[tuple[int, dict[str, float], int] | None] = queue.SimpleQueue()
        self._status: Status = "FINISHED"
        self._closing = threading.Event()  # nothing more will come
        self._given_up = threading.Event()  # nothing more is to be sent or said
        self._told = False
        self._complete = False
        self._thread = threading.Thread(target=self._work, name="segline-live-run", daemon=True)
        self._thread.start()

    def log(self, epoch: int, metrics: Metrics) -> None:
        """Take in the metrics of an epoch, by the names they have in history.csv; never waits. NaN and infinities are left out."""
        self._queue.put((epoch, {name: value for name, value in finite(metrics).items() if name != "epoch"}, _now_ms()))

    def close(self, status: Status = "FINISHED") -> None:
        """Send what is queued and end the run; a second call does nothing. After Ctrl-C the wait is short."""
        if self._closing.is_set():
            return
        self._status = status
        self._closing.set()
        self._queue.put(None)
        waiting = patience(self._store, self._budget_s)
        start = time.monotonic()
        self._thread.join(min(waiting.left, _INTERRUPTED_S) if status == "KILLED" else waiting.left)
        waited = time.monotonic() - start
        if self._thread.is_alive():
            self._tell(f"The tracking store did not take everything within {waited:.0f} s.")
        if not self._complete:
            waiting.spend(waited)
        self._given_up.set()

    def _work(self) -> None:
        unsent: list[tuple[int, dict[str, float], int]] = []
        writer: _Writer | None = None
        pause = _PAUSE_S
        while not self._given_up.is_set():
            try:
                writer = writer or _Writer(self._store, self._card, self._start_ms, self._timeout_s)
                self._take(unsent, wait=not unsent)
                last = self._closing.is_set() and self._queue.empty()
                if self._given_up.is_set():
                    return
                writer.send(unsent)
                unsent.clear()
                pause = _PAUSE_S
                if last:
                    writer.end(self._status)
                    self._complete = True
                    return
            except TrackingError as error:
                self._tell(str(error))
                if self._closing.is_set():
                    return
                writer = None  # a server that comes back may have lost the run
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _take(self, unsent: list[tuple[int, dict[str, float], int]], *, wait: bool) -> None:
        """Move what is queued to `unsent`; `wait` for the first if there is none."""
        block = wait
        while True:
            try:
                item = self._queue.get(block=block)
            except queue.Empty:
                return
            if item is None:
                return
            unsent.append(item)
            block = False

    def _tell(self, sentence: str) -> None:
        if not self._told and not self._given_up.is_set():
            self._told = True
            print(f"tracking: {sentence} The training goes on; what its run lacks at the end is sent by the next stage or `segline sync`.", file=sys.stderr)


class _Writer:
    """Speaks to the store, in the thread; every method raises TrackingError when the store fails."""

    def __init__(self, store: str, card: ModelCard, start_ms: int, timeout_s: float) -> None:
        self._store = store
        self._client: MlflowClient = connect(store, timeout_s=timeout_s)
        run, self._created = open_run(self._client, card, start_ms=start_ms)
        self._run: str = run.info.run_id
        self._steps: dict[str, set[int]] = {}
        if run.info.status != "RUNNING":
            with told(store):
                self._client.update_run(self._run, status="RUNNING")

    def send(self, rows: list[tuple[int, dict[str, float], int]]) -> None:
        if not rows:
            return
        from mlflow.entities import Metric

        with told(self._store):
            metrics = [Metric(name, value, at_ms, epoch) for epoch, values, at_ms in rows for name, value in values.items() if epoch not in self._known(name)]
            log_steps(self._client, self._run, metrics)
        for metric in metrics:
            self._steps[metric.key].add(metric.step)

    def end(self, status: Status) -> None:
        with told(self._store):
            self._client.set_terminated(self._run, status)

    def _known(self, name: str) -> set[int]:
        if name not in self._steps:
            self._steps[name] = set() if self._created else logged_steps(self._client, self._run, name)
        return self._steps[name]


def _now_ms() -> int:
    return int(1000 * time.time())
