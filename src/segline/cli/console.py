"""How verbs speak: tables as wide as the terminal, and exit codes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

REFUSED = 1
"""Exit code when a gate failed, or when `segline status` found something."""

_WIDE = 160  # columns of a table that goes into a pipe or a file


def console(stream: TextIO | None = None) -> Console:
    """For tables, on stdout unless another stream is given."""
    from rich.console import Console

    found = Console(file=stream)
    return found if found.is_terminal else Console(file=stream, width=_WIDE)


def progress_wanted() -> bool:
    """Whether somebody looks at stderr, where progress bars are shown."""
    return console(sys.stderr).is_terminal


def counted(number: int, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
