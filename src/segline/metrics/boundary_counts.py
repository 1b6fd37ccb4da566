"""Pixels near the contour of each class in one image, for boundary IoU (Cheng 2021, arXiv:2103.16562).

The boundary of a class is what of it lies within some pixels of its contour: 2 % of the image's diagonal, in any direction (the largest of both
coordinates' differences), as the paper's code erodes it. Where the image ends, so does the class.
An edge to ignored pixels is no contour: these belong to every class while boundaries are drawn, and are then left out.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.data.store import IGNORE, Sample
from segline.metrics.details import Detail, Rows
from segline_runtime.predictions import Prediction, SemanticPrediction

SHARE = 0.02
"""Width of a boundary, of the image's diagonal; at least one pixel."""


def record(prediction: Prediction, truth: Sample, classes: int) -> Rows:  # noqa: ARG001
    """A row for each class in truth or prediction: pixels of its true boundary, of the predicted one, and of both."""
    assert isinstance(prediction, SemanticPrediction) and truth.mask is not None
    ignored = truth.mask == IGNORE
    width = max(1, round(SHARE * math.hypot(*truth.mask.shape)))
    rows = []
    for label in present(truth.mask, prediction.class_ids, ignored):
        true, found = (_boundary(ids == label, ignored, width) for ids in (truth.mask, prediction.class_ids))
        rows.append((label, np.count_nonzero(true & found), np.count_nonzero(true), np.count_nonzero(found)))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return {"label": columns[0].astype(np.int32), **dict(zip(("both", "truth", "predicted"), columns[1:], strict=True))}


def present(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], ignored: NDArray[np.bool_]) -> list[int]:
    """The classes of the scored pixels, in truth or in prediction."""
    scored = ~ignored
    numbers = np.bincount(truth[scored], minlength=256) + np.bincount(predicted[scored], minlength=256)
    return [int(label) for label in np.flatnonzero(numbers)]


def _boundary(mask: NDArray[np.bool_], ignored: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    filled = (mask | ignored).view(np.uint8)
    kernel = np.ones((2 * width + 1, 2 * width + 1), dtype=np.uint8)
    inside = cv2.erode(filled, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0).view(np.bool_)
    return np.asarray(mask & ~inside & ~ignored)


BOUNDARY = Detail("boundary", record)
