"""How undecided a model is about an image: what a task finds in one prediction, and `segline next` ranks images by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo

Measure = Callable[[NDArray[Any]], NDArray[Any]]
"""Probabilities `(K, …)` of what something may be, which add up to 1 over K → how undecided that is `(…)`, from 0 (sure) to 1 (each as likely as the next)."""

CLEARLY = 0.5
"""How undecided something must be to be spoken of."""


@dataclass(frozen=True)
class Hesitation:
    """Of one image. Classes are those that the model decides for, K of them.

    The sum of `doubt` is what the image is worth: of masks the mean over the pixels, of objects the sum over them.
    """

    doubt: NDArray[np.float64]  # (K,) how undecided the model is where it decides for each class, summed
    amount: NDArray[np.float64]  # (K,) how much it gives each class, in the same unit
    heat: NDArray[np.float32]  # (H, W) how undecided each pixel is, 0…1
    why: str  # in words


Hesitate = Callable[[Prediction, Measure, Sequence[ClassInfo]], Hesitation]
"""A prediction, with class probabilities where the task has them, and how being undecided is measured. What is no number is undecided."""


def shown(share: float) -> str:
    """A share of an image, for people."""
    return "less than 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")
