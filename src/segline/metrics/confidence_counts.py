"""How sure a model is of the pixels of one image, and how often it is right, by bins of its confidence: what calibration is measured by.

The confidence of a pixel is the probability of its likeliest class; bin b of 15 holds those above b/15, up to (b + 1)/15 (Guo 2017, arXiv:1706.04599).
"""

from __future__ import annotations

import numpy as np

from segline.data.store import IGNORE, Sample
from segline.metrics.details import Detail, Rows
from segline.metrics.pixel_counts import BINS
from segline_runtime.predictions import Prediction, SemanticPrediction

NUMBER = BINS["confidence"]


def record(prediction: Prediction, truth: Sample, classes: int) -> Rows:  # noqa: ARG001
    """A row for each bin that holds scored pixels: how many, how many of them are right, and the sum of their confidences."""
    assert isinstance(prediction, SemanticPrediction) and truth.mask is not None
    assert prediction.probabilities is not None, "calibration needs probabilities"
    scored = truth.mask != IGNORE
    confidence = prediction.probabilities.max(axis=0)[scored].astype(np.float64)
    right = (prediction.class_ids == truth.mask)[scored]
    bins = np.clip(np.ceil(confidence * NUMBER).astype(np.int64) - 1, 0, NUMBER - 1)
    pixels = np.bincount(bins, minlength=NUMBER)
    filled = np.flatnonzero(pixels)
    return {
        "bin": filled.astype(np.int32),
        "pixels": pixels[filled].astype(np.int64),
        "right": np.bincount(bins[right], minlength=NUMBER)[filled].astype(np.int64),
        "sum": np.bincount(bins, weights=confidence, minlength=NUMBER)[filled],
    }


CONFIDENCE = Detail("confidence", record, probabilities=True)
