"""How much it is worth to label an image, by what a model is undecided about: measures of one decision, and what an image makes of many.

Legend: N images, K classes, options of a decision first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.choices import hint
from segline.errors import ParametersError
from segline.tasks.hesitation import Measure


def entropy(probabilities: NDArray[Any]) -> NDArray[Any]:
    """Shannon's entropy over its greatest value, log K (Settles 2009, "Active learning literature survey", section 3.1)."""
    total = np.zeros(probabilities.shape[1:], dtype=probabilities.dtype)
    for share in probabilities:  # of all at once, numpy would need the memory of all three times
        total -= share * np.log(np.maximum(share, np.finfo(np.float32).tiny))
    return np.asarray(np.clip(total / max(np.log(len(probabilities)), np.finfo(np.float32).tiny), 0, 1))


def margin(probabilities: NDArray[Any]) -> NDArray[Any]:
    """1 less the distance of the two likeliest, "best versus second best" (Scheffer, Decomain and Wrobel 2001, "Active hidden Markov models")."""
    best = np.zeros(probabilities.shape[1:], dtype=probabilities.dtype)
    second = best.copy()
    for share in probabilities:
        np.maximum(second, np.minimum(best, share), out=second)
        np.maximum(best, share, out=best)
    return np.asarray(np.clip(1 - (best - second), 0, 1))


def least_confidence(probabilities: NDArray[Any]) -> NDArray[Any]:
    """1 less the likeliest, over its greatest value, 1 − 1/K (Lewis and Gale 1994, "A sequential algorithm for training text classifiers")."""
    number = len(probabilities)
    return np.asarray(np.clip((1 - probabilities.max(axis=0)) * (number / max(number - 1, 1)), 0, 1))


@dataclass(frozen=True)
class Score:
    """One way to say what an image is worth. `seldom`: doubts about classes that the model finds seldom count more."""

    about: str
    source: str
    measure: Measure
    seldom: bool = False

    def __call__(self, doubts: NDArray[np.float64], amounts: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(N,)` of the hesitation of all images, `(N, K)` each."""
        if not self.seldom or not amounts.sum():
            return np.asarray(doubts.sum(axis=1))
        shares = amounts.sum(axis=0) / amounts.sum()
        return np.asarray(doubts @ np.exp(-shares))


SCORES: Mapping[str, Score] = {
    "entropy": Score("the mean entropy of the classes' probabilities", "Settles 2009", entropy),
    "margin": Score("how near the second likeliest class comes to the likeliest", "Scheffer 2001", margin),
    "least_confidence": Score("how unlikely the likeliest class is", "Lewis and Gale 1994", least_confidence),
    "balanced": Score(
        "as margin, and what the model finds seldom counts more, by exp(−share of the class)",
        "Cai 2021, Revisiting superpixels for active learning in semantic segmentation with realistic annotation costs",
        margin,
        seldom=True,
    ),
}

DEFAULT = "entropy"
"""Measured against labels chosen at random (`benchmarks/labelling/next.json`)."""


def get(name: str) -> Score:
    """Raises ParametersError for an unknown word."""
    if name not in SCORES:
        raise ParametersError(f"There is no score '{name[:80]}'. {hint(name, SCORES)}")
    return SCORES[name]
