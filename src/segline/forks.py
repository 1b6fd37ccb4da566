"""Imports in one thread while another forks.

A fork copies the lock of a module that is being imported, but not the thread that imports it: whoever imports the module in the fork, a loader's process that
asks Arrow for an array and so for pandas, say, waits for ever. So no process is forked while a thread imports in `held_off`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_importing = threading.RLock()  # the thread that imports may fork itself

if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release)


@contextmanager
def held_off() -> Iterator[None]:
    """While the block runs, other threads wait before they fork. For imports in a thread, which take seconds at most; never around a question to a server."""
    with _importing:
        yield
