"""Contours of each class in one image and how far they agree, for boundary F1 (Csurka 2013, "What is a good evaluation measure for semantic segmentation?").

A pixel of a class is on its contour when a pixel that it shares a side with is of another class. Where the image ends, nothing does; ignored pixels are of
every class while contours are drawn, and are then left out. Contours agree within 0.75 % of the image's diagonal, as the crow flies.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.data.store import IGNORE, Sample
from segline.metrics.boundary_counts import present
from segline.metrics.details import Detail, Rows
from segline_runtime.predictions import Prediction, SemanticPrediction

SHARE = 0.0075
"""How far contours may be apart, of the image's diagonal; at least one pixel."""

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def record(prediction: Prediction, truth: Sample, classes: int) -> Rows:  # noqa: ARG001
    """A row for each class with a contour: pixels of the true contour, those of them that were `found`, of the predicted one, those that are `right`."""
    assert isinstance(prediction, SemanticPrediction) and truth.mask is not None
    ignored = truth.mask == IGNORE
    apart = max(1.0, SHARE * math.hypot(*truth.mask.shape))
    rows = []
    for label in present(truth.mask, prediction.class_ids, ignored):
        true, predicted = (_contour(ids == label, ignored) for ids in (truth.mask, prediction.class_ids))
        row = (label, np.count_nonzero(true), _near(true, predicted, apart), np.count_nonzero(predicted), _near(predicted, true, apart))
        if row[1] or row[3]:
            rows.append(row)
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    return {"label": columns[0].astype(np.int32), **dict(zip(("truth", "found", "predicted", "right"), columns[1:], strict=True))}


def _contour(mask: NDArray[np.bool_], ignored: NDArray[np.bool_]) -> NDArray[np.bool_]:
    filled = (mask | ignored).view(np.uint8)
    inside = cv2.erode(filled, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=1).view(np.bool_)
    return np.asarray(mask & ~inside & ~ignored)


def _near(points: NDArray[np.bool_], others: NDArray[np.bool_], apart: float) -> int:
    """How many of some points `(H, W)` have one of the others within `apart` pixels."""
    if not (points.any() and others.any()):
        return 0
    distances = cv2.distanceTransform((~others).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return int(np.count_nonzero(distances[points] <= apart))


CONTOUR = Detail("contour", record)
