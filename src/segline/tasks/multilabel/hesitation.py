"""Pixels of which it is undecided whether they are of a class, for each class by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segline.tasks.hesitation import CLEARLY, Hesitation, Measure, shown
from segline_runtime.multilabel import MultilabelPrediction
from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo


def hesitate(prediction: Prediction, measure: Measure, classes: Sequence[ClassInfo]) -> Hesitation:
    """See `segline.tasks.hesitation.Hesitate`; a share of the image is the unit. A pixel is as undecided as it is for its most doubtful class."""
    assert isinstance(prediction, MultilabelPrediction) and prediction.probabilities is not None
    size = prediction.masks.shape[1:]
    heat = np.zeros(size, dtype=np.float32)
    doubt, amount = np.zeros(len(classes)), np.zeros(len(classes))
    for label, (mask, p) in enumerate(zip(prediction.masks, prediction.probabilities, strict=True)):
        own = np.nan_to_num(measure(np.stack([p, 1 - p])).astype(np.float32, copy=False), nan=1.0)
        doubt[label], amount[label] = own.mean(dtype=np.float64), np.maximum(own, mask).mean(dtype=np.float64)
        np.maximum(heat, own, out=heat)
    clear = heat > CLEARLY
    if not clear.any():
        return Hesitation(doubt, amount, heat, "hardly anywhere undecided")
    return Hesitation(doubt, amount, heat, f"undecided on {shown(float(clear.mean()))} of the image, mostly about {classes[int(doubt.argmax())].name}")
