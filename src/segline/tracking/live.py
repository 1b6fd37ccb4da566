"""The run of a training as it happens, written from a thread, so that no server can hold the training up."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from segline.errors import TrackingError
from segline.layout import ModelFolder
from segline.signals import Stopped
from segline.tracking.contents import read
from segline.tracking.patience import BUDGET_S, patience
from segline.tracking.runs import Status, write
from segline.tracking.store import connect, load_mlflow

_PAUSE_S = 10.0
_TIMEOUT_S = 10.0
_INTERRUPTED_S = 3.0


@contextmanager
def following(store: str, *, budget_s: float = BUDGET_S) -> Iterator[Callable[[ModelFolder], Callable[[], None]]]:
    """For the time of a training: a function that opens the run of a folder, in which card and history grow, and gives back what is to be called
    when they have changed. The folder holds the card from the beginning; it may be gone when the block ends.

    The run ends as finished, failed or killed, as the block does.
    """
    opened: list[LiveRun] = []

    def follow(folder: ModelFolder) -> Callable[[], None]:
        opened.append(LiveRun(store, folder, budget_s=budget_s))
        return opened[-1].notify

    status: Status = "FAILED"
    try:
        yield follow
        status = "FINISHED"
    except (KeyboardInterrupt, Stopped):
        status = "KILLED"
        raise
    finally:
        for run in opened:
            run.close(status)


class LiveRun:
    """One MLflow run that grows with a training. An interrupted training that goes on continues its run; no step is logged twice.

    MLflow is imported and the server spoken to in a daemon thread alone, which dies with the process. When the store fails, one sentence is printed,
    the thread tries again from time to time, and the training goes on; what is still missing at the end is in history.csv and is sent by
    `segline.tracking.record`. Only `close` waits: at most `budget_s` seconds, less what this process has already lost to the same store.
    """

    def __init__(self, store: str, folder: ModelFolder, *, budget_s: float = BUDGET_S) -> None:
        self._store = store
        self._folder = folder
        self._budget_s = budget_s
        self._status: Status = "RUNNING"
        self._news = threading.Event()  # since the thread last looked
        self._closing = threading.Event()  # nothing more will come
        self._failure: TrackingError | None = None  # of the last attempt
        self._told = False
        self.notify()
        self._thread = threading.Thread(target=self._work, name="segline-live-run", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Take in what the folder says now; never waits for the store."""
        # Here, and not in the thread: the folder can be rewritten and deleted at any time after this. Its files are uploaded by the stage that keeps them.
        self._contents = replace(read(self._folder), files=())
        self._news.set()

    def close(self, status: Status = "FINISHED") -> None:
        """Send what was taken in last and end the run; a second call does nothing. After Ctrl-C the wait is short."""
        if self._closing.is_set():
            return
        self._status = status
        self._closing.set()
        self._news.set()
        try:
            if status != "KILLED":
                load_mlflow()  # takes seconds, which are not the server's fault
            with patience(self._store, self._budget_s) as left:
                waiting = min(left, _INTERRUPTED_S) if status == "KILLED" else left
                self._thread.join(waiting)
                if self._thread.is_alive():
                    raise TrackingError(f"The tracking store did not take everything within {waiting:.0f} s.")
                if self._failure is not None:
                    raise self._failure
        except TrackingError as error:
            self._tell(error)

    def _work(self) -> None:
        client = None
        while True:
            self._news.wait()
            self._news.clear()
            status, contents = self._status, self._contents  # in this order: after the end nothing new comes
            try:
                client = client or connect(self._store, timeout_s=min(_TIMEOUT_S, self._budget_s))
                write(client, contents, status)
            except TrackingError as error:
                self._tell(error)
                self._failure = error
                self._closing.wait(_PAUSE_S)
                self._news.set()
            else:
                self._failure = None
            if status != "RUNNING":
                return

    def _tell(self, error: TrackingError) -> None:
        if not self._told:
            self._told = True
            print(f"tracking: {error} The training goes on; what its run lacks at the end is sent by the next stage or `segline sync`.", file=sys.stderr)
