"""Scores per class from sums of pixels, and their mean over the classes.

The rule for absent classes, here and in every metric that is made of pixel counts:
a class absent from truth and prediction over the whole split has no score (NaN; left out of metrics.json) and takes no part in a mean, its support is
shown as 0; a class absent from the truth but predicted has IoU 0 and Dice 0, and these count in the mean. Its accuracy has no score: there is nothing of
it to be found.

Legend: K classes, R resamples of the images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from segline.metrics.base import Values
from segline.metrics.names import class_keys
from segline_runtime.specification import ClassInfo


def ratio(above: ArrayLike, below: ArrayLike) -> Values:
    """above / below, NaN where below is 0."""
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    return np.asarray(np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0))


def mean(scores: Values) -> float:
    """Mean of `(K,)` over the classes that take part; NaN when none does."""
    taking_part = scores[~np.isnan(scores)]
    return float(taking_part.mean()) if taking_part.size else math.nan


def means(scores: Values) -> Values:
    """As `mean`, of each row of `(R, K)`."""
    return ratio(np.nansum(scores, axis=1), (~np.isnan(scores)).sum(axis=1))


def defined(figures: dict[str, float]) -> dict[str, float]:
    """Without the figures that nothing was scored for."""
    return {key: value for key, value in figures.items() if not math.isnan(value)}


def by_class(word: str, scores: Values, classes: Sequence[ClassInfo]) -> dict[str, float]:
    """Scores `(K,)` by their keys `<word>/<class>`."""
    return {f"{word}/{key}": float(value) for key, value in zip(class_keys(classes), scores, strict=True)}


def column(word: str, key: str, scores: Values, classes: Sequence[ClassInfo]) -> Values | None:
    """The scores `(R,)` of the class that the key `<word>/<class>` names, of `(R, K)`; None when the key is another."""
    named = [f"{word}/{name}" for name in class_keys(classes)]
    return scores[:, named.index(key)] if key in named else None
