"""How likely the second of two classes is at the pixels of one image, by hundredths, of its true pixels and of the others apart.

A pixel is in the bin of the highest of the thresholds 0, 0.01, … 1 that its probability reaches.
"""

from __future__ import annotations

import numpy as np

from segline.data.store import IGNORE, Sample
from segline.metrics.details import Detail, Rows
from segline.metrics.pixel_counts import BINS
from segline_runtime.predictions import Prediction, SemanticPrediction

THRESHOLDS = np.linspace(0, 1, BINS["threshold"])
"""Of the second class's probability."""

POSITIVE = 1
"""The class that is found or not: by custom the first is the background."""


def record(prediction: Prediction, truth: Sample, classes: int) -> Rows:
    """A row for each bin that holds scored pixels: how many are of the second class, and how many are not. None where there are not two classes."""
    assert isinstance(prediction, SemanticPrediction) and truth.mask is not None
    assert prediction.probabilities is not None, "thresholds need probabilities"
    if classes != 2:
        return {"bin": np.zeros(0, np.int32), "positive": np.zeros(0, np.int64), "negative": np.zeros(0, np.int64)}
    scored = truth.mask != IGNORE
    bins = np.searchsorted(THRESHOLDS.astype(np.float32), prediction.probabilities[POSITIVE][scored], side="right") - 1
    true = truth.mask[scored] == POSITIVE
    positive, negative = (np.bincount(bins[some], minlength=len(THRESHOLDS)) for some in (true, ~true))
    filled = np.flatnonzero(positive + negative)
    return {"bin": filled.astype(np.int32), "positive": positive[filled].astype(np.int64), "negative": negative[filled].astype(np.int64)}


THRESHOLD = Detail("threshold", record, probabilities=True)
