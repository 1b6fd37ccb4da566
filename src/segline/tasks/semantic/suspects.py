"""Masks against class probabilities: the self-confidence of each annotated region, and regions that are surely of another class.

The score of an image is the soft minimum of its pixels' self-confidence (Lad and Mueller 2023, "Estimating label quality and errors in semantic
segmentation data via any model"). An annotated object is a connected region of one class.

Legend: K classes, image (H, W).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.data.store import IGNORE, Sample
from segline.tasks.contradiction import Contradiction, Verdict, soft_minimum
from segline_runtime.predictions import Prediction, SemanticPrediction

_SMALLEST = 16
_SMALLEST_SHARE = 2e-4
"""Pixels, and share of the image, of the least region that is judged: of fewer, most lie on a border."""

_SURE = 0.5
"""By how much another class must be likelier than the annotated one in each pixel of a region that somebody may have missed."""

_THIN = np.ones((3, 3), dtype=np.uint8)
"""What is no wider is a border that was drawn a pixel off."""


def judge(prediction: Prediction, sample: Sample) -> Verdict:
    """See `segline.tasks.contradiction.Judge`."""
    assert isinstance(prediction, SemanticPrediction) and prediction.probabilities is not None and sample.mask is not None
    truth, probabilities = sample.mask, prediction.probabilities
    counted = truth != IGNORE
    if not counted.any():
        return Verdict(1.0, ())
    own = np.take_along_axis(probabilities, np.where(counted, truth, 0)[None].astype(np.int64), axis=0)[0]
    least = max(_SMALLEST, round(_SMALLEST_SHARE * truth.size))
    doubted = np.zeros(truth.shape, dtype=bool)
    found = []
    for label in np.unique(truth[counted]).tolist():
        found += _regions(truth == label, label, probabilities, least, doubted)
    found += _missing(truth, counted, own, prediction, least, doubted)
    return Verdict(soft_minimum(own[counted]), tuple(found))


def _regions(where: NDArray[np.bool_], label: int, probabilities: NDArray[np.floating], least: int, doubted: NDArray[np.bool_]) -> list[Contradiction]:
    """The annotated regions of one class; those that are of another one are marked in `doubted`."""
    number, regions, stats, _ = cv2.connectedComponentsWithStats(where.astype(np.uint8), connectivity=8)
    flat, areas = regions.ravel(), stats[:, cv2.CC_STAT_AREA]
    means = np.stack([np.bincount(flat, weights=one.ravel().astype(np.float64), minlength=number) for one in probabilities]) / np.maximum(areas, 1)
    found = []
    for region in range(1, number):
        if areas[region] < least:
            continue
        says = int(means[:, region].argmax())
        if says != label:
            doubted |= regions == region
        found.append(
            Contradiction("outline" if says == label else "class", label, says, float(1 - means[label, region]), _box(stats[region]), int(areas[region]))
        )
    return found


def _missing(
    truth: NDArray[np.uint8], counted: NDArray[np.bool_], own: NDArray[np.floating], prediction: SemanticPrediction, least: int, doubted: NDArray[np.bool_]
) -> list[Contradiction]:
    """Regions that are surely of another class than the annotated one, and are no annotated region as a whole."""
    assert prediction.probabilities is not None
    margin = prediction.probabilities.max(axis=0) - own
    sure = counted & (margin > _SURE) & (prediction.class_ids != truth)
    if not sure.any():
        return []
    found = []
    for says in np.unique(prediction.class_ids[sure]).tolist():
        solid = cv2.morphologyEx((sure & (prediction.class_ids == says)).astype(np.uint8), cv2.MORPH_OPEN, _THIN)
        number, regions, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=8)
        for region in range(1, number):
            where = regions == region
            if stats[region, cv2.CC_STAT_AREA] < least or doubted[where].mean() > 0.5:
                continue
            label = int(np.bincount(truth[where]).argmax())
            found.append(Contradiction("missing", label, says, float(margin[where].mean()), _box(stats[region]), int(stats[region, cv2.CC_STAT_AREA])))
    return found


def _box(stats: NDArray[np.int32]) -> tuple[int, int, int, int]:
    left, top, width, height = (int(value) for value in stats[:4])
    return left, top, left + width, top + height
