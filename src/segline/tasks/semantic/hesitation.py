"""Pixels whose class is undecided, by their class probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segline.tasks.hesitation import CLEARLY, Hesitation, Measure, shown
from segline_runtime.predictions import Prediction, SemanticPrediction
from segline_runtime.specification import ClassInfo


def hesitate(prediction: Prediction, measure: Measure, classes: Sequence[ClassInfo]) -> Hesitation:
    """See `segline.tasks.hesitation.Hesitate`; a share of the image is the unit."""
    assert isinstance(prediction, SemanticPrediction) and prediction.probabilities is not None
    ids = prediction.class_ids
    heat = np.nan_to_num(measure(prediction.probabilities).astype(np.float32, copy=False), nan=1.0)
    flat, number = ids.ravel(), len(classes)
    doubt = np.bincount(flat, weights=heat.ravel(), minlength=number) / ids.size
    amount = np.bincount(flat, minlength=number) / ids.size
    clear = heat > CLEARLY
    if not clear.any():
        return Hesitation(doubt, amount, heat, "hardly anywhere undecided")
    most = int(np.bincount(ids[clear], minlength=number).argmax())
    return Hesitation(doubt, amount, heat, f"undecided on {shown(float(clear.mean()))} of the image, mostly where it says {classes[most].name}")
