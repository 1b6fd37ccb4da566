"""Learning rate over the optimiser's steps: linear warm-up, then decay."""

from __future__ import annotations

import math
from collections.abc import Callable

POLY_POWER = 0.9
"""DeepLab's (Chen 2017)."""

LEFT = 0.01
"""What an exponential decay leaves of the peak rate at the end, however many steps there are."""

DECAYS: dict[str, Callable[[float, float], float]] = {
    "cosine": lambda done, _power: 0.5 * (1 + math.cos(math.pi * done)),
    "poly": lambda done, power: (1 - done) ** power,
    "exponential": lambda done, _power: LEFT**done,
    "constant": lambda _done, _power: 1.0,
}
"""Share of the training done (after the warm-up), 0…1, and the power of `poly` → factor of the peak rate."""


def factor(step: int, *, schedule: str, warmup_steps: int, total_steps: int, power: float = POLY_POWER) -> float:
    """Factor of the peak learning rate at a step counted from 0."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return DECAYS[schedule](min(1.0, done), power)
