"""MLflow for a command that asks a few questions and ends: half of its time would go into what no answer needs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick() -> Iterator[None]:
    """For a block that imports MLflow and reads a store: no garbage is looked for meanwhile.

    What is imported stays until the end, and looking through these hundreds of thousands of objects again and again takes a fifth of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
