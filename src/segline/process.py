"""Whose process this is: that of `segline`, which answers one command and ends, or somebody's who uses the library."""

from __future__ import annotations

_ours = False


def is_ours() -> None:
    """Say that this process is `segline` and nothing else, so that what nobody needs until it ends may be left out of it."""
    global _ours
    _ours = True


def ours() -> bool:
    """Whether somebody has said so."""
    return _ours
