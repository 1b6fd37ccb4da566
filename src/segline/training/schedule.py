"""Learning rate over the optimiser's steps: linear warm-up, then decay to zero."""

from __future__ import annotations

import math
from collections.abc import Callable

DECAYS: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "poly": lambda done: (1 - done) ** 0.9,
    "constant": lambda _done: 1.0,
}
"""Share of the training done (after the warm-up), 0…1 → factor of the peak rate. `poly` is DeepLab's, power 0.9."""


def factor(step: int, *, schedule: str, warmup_steps: int, total_steps: int) -> float:
    """Factor of the peak learning rate at a step counted from 0."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return DECAYS[schedule](min(1.0, done))
