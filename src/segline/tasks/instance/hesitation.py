"""Objects that may be none, by their scores: the doubts of an image's objects are added up (Brust, Käding and Denzler 2019, "Active learning for deep object
detection", which compares sum, mean and maximum). An object that the model does not see at all makes no doubt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.tasks.hesitation import CLEARLY, Hesitation, Measure
from segline_runtime.masks import extent
from segline_runtime.predictions import InstancePrediction, Prediction
from segline_runtime.specification import ClassInfo


def hesitate(prediction: Prediction, measure: Measure, classes: Sequence[ClassInfo]) -> Hesitation:
    """See `segline.tasks.hesitation.Hesitate`; an object is the unit."""
    assert isinstance(prediction, InstancePrediction)
    scores = np.clip(prediction.scores.astype(np.float64), 0, 1)
    doubts = np.nan_to_num(measure(np.stack([scores, 1 - scores])), nan=1.0)
    number = len(classes)
    heat = np.zeros(prediction.masks.shape[1:], dtype=np.float32)
    for mask, doubt in zip(prediction.masks, doubts, strict=True):
        rows, columns = extent(mask)
        part = heat[rows, columns]
        np.maximum(part, np.float32(doubt), out=part, where=mask[rows, columns])
    summed, amount = (np.bincount(prediction.labels, weights=values, minlength=number).astype(np.float64) for values in (doubts, None))
    return Hesitation(summed, amount, heat, _why(prediction, doubts > CLEARLY, classes))


def _why(prediction: InstancePrediction, clear: NDArray[np.bool_], classes: Sequence[ClassInfo]) -> str:
    if not len(clear):
        return "nothing found"
    if not clear.any():
        return f"sure of all it finds ({len(clear)})"
    most = int(np.bincount(prediction.labels[clear]).argmax())
    return f"{int(clear.sum())} of {len(clear)} found objects are doubtful, mostly {classes[most].name}"
