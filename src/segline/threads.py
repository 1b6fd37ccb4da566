"""How long a thread that waits for the others keeps its core busy."""

from __future__ import annotations

import os

_SPINS = "10000"  # some 0.2 ms: what is awaited between two operations of one step comes sooner on an idle machine


def sleep_soon() -> None:
    """Let torch's waiting threads go to sleep after some microseconds. Must be called before torch is imported; what the user has set stays.

    By itself GNU OpenMP spins for milliseconds at the end of every operation. That is free while each thread has a core. Where another process has one of
    the cores, the thread that works waits for it while the others burn what is left: `benchmarks/spinning.py`.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
