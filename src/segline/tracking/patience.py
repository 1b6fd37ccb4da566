"""What a store that fails may cost: a limit for one call, and one budget per store for all that happens in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from segline.errors import TrackingError

BUDGET_S = 30.0
"""What a failing store may cost a process in all."""

T = TypeVar("T")

_spent: dict[str, float] = {}


@contextmanager
def patience(store: str, budget_s: float = BUDGET_S) -> Iterator[float]:
    """The seconds of `budget_s` that are left for a store. A block that ends in TrackingError uses up its time; a store that answers uses up nothing."""
    start = time.monotonic()
    try:
        yield max(0.0, budget_s - _spent.get(store, 0.0))
    except TrackingError:
        _spent[store] = _spent.get(store, 0.0) + time.monotonic() - start
        raise


def within(seconds: float, call: Callable[[], T], store: str) -> T:
    """The result of a call, or its exception; TrackingError when it takes longer. The call then goes on in a thread that ends with the process.

    store: its address as people may see it.
    """
    result: list[T] = []
    raised: list[BaseException] = []

    def body() -> None:
        try:
            result.append(call())
        except BaseException as error:  # handed to the caller below
            raised.append(error)

    thread = threading.Thread(target=body, name="segline-tracking-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not result:
        raise TrackingError(f"The MLflow store {store} did not answer within {seconds:.0f} s. Check the server and the network.")
    return result[0]
