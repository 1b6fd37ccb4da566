"""The run of a training as it happens, written from a thread, so that no server can hold the training up."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from segline.errors import TrackingError
from segline.layout import ModelFolder
from segline.tracking.contents import read
from segline.tracking.patience import BUDGET_S, patience
from segline.tracking.runs import Run, Status
from segline.tracking.store import connect

_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 120.0
_TIMEOUT_S = 10.0
_INTERRUPTED_S = 3.0

Notify = Callable[[], None]


@contextmanager
def following(store: str, *, budget_s: float = BUDGET_S) -> Iterator[Callable[[ModelFolder], Notify]]:
    """For the time of a training: a function that opens the run of a folder, in which card and history grow, and gives back what is to be called
    when they have changed. The folder holds the card from the beginning; it may be gone when the block ends.

    The run ends as finished, failed or killed, as the block does.
    """
    opened: list[LiveRun] = []

    def follow(folder: ModelFolder) -> Notify:
        opened.append(LiveRun(store, folder, budget_s=budget_s))
        return opened[-1].notify

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

    def __init__(self, store: str, folder: ModelFolder, *, budget_s: float = BUDGET_S) -> None:
        self._store = store
        self._folder = folder
        self._budget_s = budget_s
        self._status: Status = "RUNNING"
        self._news = threading.Event()  # since the thread last looked
        self._closing = threading.Event()  # nothing more will come
        self._given_up = threading.Event()  # nothing more is to be sent or said
        self._told = False
        self._complete = False
        self.notify()
        self._thread = threading.Thread(target=self._work, name="segline-live-run", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Take in what the folder says now; never waits for the store."""
        self._contents = read(self._folder)  # here, and not in the thread: the folder can be rewritten and deleted at any time after this
        self._news.set()

    def close(self, status: Status = "FINISHED") -> None:
        """Send what was taken in last and end the run; a second call does nothing. After Ctrl-C the wait is short."""
        if self._closing.is_set():
            return
        self._status = status
        self._closing.set()
        self._news.set()
        try:
            with patience(self._store, self._budget_s) as left:
                waiting = min(left, _INTERRUPTED_S) if status == "KILLED" else left
                self._thread.join(waiting)
                if not self._complete:
                    raise TrackingError(f"The tracking store did not take everything within {waiting:.0f} s.")
        except TrackingError as error:
            if self._thread.is_alive():  # else it has told why itself
                self._tell(error)
        self._given_up.set()

    def _work(self) -> None:
        run: Run | None = None
        pause = _PAUSE_S
        while not self._given_up.is_set():
            self._news.wait()
            self._news.clear()
            status, contents = self._status, self._contents  # in this order: after the end nothing new comes
            first = run is None
            try:
                run = run or Run(connect(self._store, timeout_s=min(_TIMEOUT_S, self._budget_s)), contents, self._given_up)
                run.be("RUNNING")
                run.log(contents)
                run.be(status)
                pause = _PAUSE_S
                if status != "RUNNING":
                    self._complete = True
                    return
            except TrackingError as error:
                self._tell(error)
                if self._closing.is_set() and first:
                    return
                run = None  # a server that comes back may have lost the run
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                self._news.set()

    def _tell(self, error: TrackingError) -> None:
        if not self._told and not self._given_up.is_set():
            self._told = True
            print(f"tracking: {error} The training goes on; what its run lacks at the end is sent by the next stage or `segline sync`.", file=sys.stderr)
