"""Where a prediction speaks against the truth of an image: what a task finds in one image, and `segline suspects` ranks over all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segline.data.store import Sample
from segline_runtime.predictions import Prediction

Doubt = Literal["class", "outline", "unseen", "missing"]
"""class: another class is meant; outline: the object lies otherwise; unseen: the model finds nothing there; missing: an object that nobody annotated."""

DOUBTS: dict[Doubt, str] = {
    "class": "another class",
    "outline": "another outline",
    "unseen": "nothing to be found",
    "missing": "not annotated",
}

_TEMPERATURE = 0.1
"""Of the soft minimum, as Lad and Mueller have it: near the least of the values, and not decided by a single one."""


@dataclass(frozen=True)
class Contradiction:
    """One annotated object, or what might be one that nobody annotated. Areas in pixels."""

    doubt: Doubt
    label: int | None  # class id of the truth; None where it says nothing
    says: int | None  # class id of the prediction; None where it says nothing
    suspicion: float  # 0: the model agrees … 1: it is sure of something else
    box: tuple[int, int, int, int]  # xyxy, in the image's own pixels
    area: int


@dataclass(frozen=True)
class Verdict:
    """Of one image: every annotated object, however good, and what is missing."""

    quality: float  # of the labels as a whole: 0 contradicted … 1 confirmed
    found: tuple[Contradiction, ...]


Judge = Callable[[Prediction, Sample], Verdict]
"""A prediction, with class probabilities where the task has them, and the image with its truth."""


def soft_minimum(values: NDArray[np.floating]) -> float:
    """Near the least of some values; 1 of none."""
    if not values.size:
        return 1.0
    weights = np.exp((values.min() - values) / _TEMPERATURE)
    return float((values * weights).sum() / weights.sum())
