"""Memory: by what a tensor's is known; when it is short, how torch shows it, whose it is, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from segline.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

_WORDS = ("out of memory", "allocate memory")
"""Of a GPU's memory, and of the machine's own, for which torch has no kind of error."""


def storage(value: Tensor) -> int:
    """A number by which the memory behind a tensor is known, as long as something lives in it; views of one tensor have the same."""
    return int(value.untyped_storage()._cdata)


def is_short(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS))


def whose(device: str) -> str:
    """The beginning of a sentence. `device`: cpu, cuda, mps, …"""
    return "This machine's memory" if device == "cpu" else "The GPU's memory"


@contextmanager
def told(purpose: str, device: str) -> Iterator[None]:
    """Run the block; where it needs more memory than there is, raise a ModelError that says so. purpose: `to evaluate 'unet'`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_short(error):
            raise
        other = "" if device == "cpu" else "Set runtime.accelerator: cpu, or make"
        advice = f"{other or 'Make'} input.size smaller, or with `fit: native` let input.tile cut images into windows, and run again."
        raise ModelError(f"{whose(device)} is too small {purpose}. {advice}") from None
