"""Ctrl-C and SIGTERM: one sentence, and the exit code that shells know for them, at any time from the first import on.

While a script imports, nothing has been written and a library may swallow an exception: `leave_at_once` ends the process there and then. While it works,
`raised_as_stopped` turns the signal into an exception, so that files, locks and runs are closed as they should be.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)

_MOMENT_S = 0.05

_received: list[int] = []
_raising = False


class Stopped(BaseException):
    """The process was asked to end. No KeyboardInterrupt: command lines and training loops have an ending of their own for that."""


def sentence(signum: int) -> str:
    return f"{_WORDS[signum]}; nothing half-written was left behind. Run the same command again to go on."


def exit_code(signum: int) -> int:
    """130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + signum


def received() -> int | None:
    """The first signal that asked this process to end. What fails after it fails because of it: a child that died of the same Ctrl-C, say."""
    return _received[0] if _received else None


def leave_at_once() -> None:
    """From now on a signal ends the process with the sentence, without any clearing up."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is None or multiprocessing.parent_process() is None:  # a worker process that is started anew imports the script as well
        _handle(_leave)


@contextmanager
def raised_as_stopped() -> Iterator[None]:
    """While the block runs, a signal is raised in the main thread as Stopped; afterwards all is as it was."""
    global _raising
    before = {signum: signal.getsignal(signum) for signum in STOPPING}
    hook = sys.unraisablehook
    _raising = True
    sys.unraisablehook = partial(_dropped, hook)
    again_as_stopped()
    try:
        yield
    finally:
        _raising = False
        sys.unraisablehook = hook
        _received.clear()
        if threading.current_thread() is threading.main_thread():
            for signum, handler in before.items():
                if handler is not None:  # None: set by another language, and out of Python's reach
                    signal.signal(signum, handler)


def again_as_stopped() -> None:
    """Within `raised_as_stopped`: take the signals back from a library that has handlers of its own."""
    if not _raising:
        return
    owner = os.getpid()

    def stop(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            _as_any_process(signum, frame)
        _received.append(signum)
        raise Stopped(signum)

    _handle(stop)


def _dropped(hook: Callable[[Any], Any], unraisable: Any) -> None:
    """In place of `sys.unraisablehook`: Python drops what is raised in finalizers and at forks, so a signal that came there comes again a moment later."""
    if not issubclass(unraisable.exc_type, Stopped):
        hook(unraisable)
    elif _received:
        again = threading.Timer(_MOMENT_S, os.kill, (os.getpid(), _received[-1]))
        again.daemon = True
        again.start()


def _handle(handler: Any) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for signum in STOPPING:
        if signal.getsignal(signum) != signal.SIG_IGN:  # as for a process in the background, which Ctrl-C does not mean
            signal.signal(signum, handler)


def _leave(signum: int, _frame: FrameType | None) -> None:
    os.write(2, f"error: {sentence(signum)}\n".encode())
    os._exit(exit_code(signum))


def _as_any_process(signum: int, frame: FrameType | None) -> None:
    """A forked worker inherits handlers; it ends as it would have without them."""
    if signum == signal.SIGINT:
        signal.default_int_handler(signum, frame)
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)


_WORDS: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "stopped by SIGTERM"}
