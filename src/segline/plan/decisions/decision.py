"""What a decision is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """One value that params.yaml left to the line."""

    key: str
    value: object
    reason: str


def down(value: float, steps: tuple[int, ...]) -> int:
    """The last of `steps`, which grow, that is no larger; else the first. So that a little more data decides the same."""
    return max((step for step in steps if step <= value), default=steps[0])
