"""VOC 2007's average precision from counts: at IoU 0.5, the mean over the recalls 0, 0.1, … 1 of the best precision at that recall or a larger one.

Which detection is right is decided by COCO's rule (`segline.metrics.detection_matching`), where VOC's own evaluation calls a detection wrong whose best
true object a better detection has taken, even if it overlaps a second one enough.

Legend: D detections of one class, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Values
from segline.metrics.detection_counts import AREAS, THRESHOLDS, DetectionCounts
from segline_runtime.specification import ClassInfo

_AT = int(np.argmin(np.abs(THRESHOLDS - 0.5)))
_ALL = AREAS.index("all")

_TENTHS = 10  # recalls beside 0

_NUMBERS_AT_ONCE = 4_000_000
"""Of resamples times detections in one pass, which bounds the memory."""


class VocAveragePrecision:
    """`<kind>_voc_ap`, mean over the classes with truth, and `<kind>_voc_ap/<class>`, with `<kind>` mask or box."""

    counts = "detections"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.headline = f"{kind}_voc_ap"

    def figures(self, counts: DetectionCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:
        scores = self._by_class(counts, np.ones((1, len(counts)), dtype=np.int64))[0]
        return class_scores.defined({self.headline: class_scores.mean(scores), **class_scores.by_class(self.headline, scores, classes)})

    def resampled(self, counts: DetectionCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:
        scores = self._by_class(counts, weights)
        return class_scores.means(scores) if key == self.headline else class_scores.column(self.headline, key, scores, classes)

    def _by_class(self, counts: DetectionCounts, weights: NDArray[np.int64]) -> Values:
        """`(R, K)`; NaN for a class without truth."""
        found = np.full((len(weights), len(counts.classes)), np.nan)
        hit, ignored = (flags[:, _ALL, _AT] for flags in (counts.hit(self.kind), counts.ignored(self.kind)))
        to_find = weights @ counts.to_find[:, :, _ALL]
        for k in np.flatnonzero(counts.to_find[:, :, _ALL].any(axis=0)).tolist():
            order = counts.ranked(k)
            image, right, counted = counts.image[order], hit[order], ~ignored[order]
            step = max(1, _NUMBERS_AT_ONCE // max(1, len(order)))
            for start in range(0, len(weights), step):
                some = slice(start, start + step)
                found[some, k] = _average(weights[some][:, image], right, counted, to_find[some, k])
        return found


def _average(times: NDArray[np.int64], right: NDArray[np.bool_], counted: NDArray[np.bool_], to_find: NDArray[np.int64]) -> Values:
    """Of resamples that hold each ranked detection `times` `(R, D)`: `(R,)`. right, counted `(D,)`; to_find `(R,)` true objects.

    Of the copies of a right detection the last has the highest precision and recall, so it stands for them all.
    """
    hits = np.cumsum(times * right, axis=1)
    precision = class_scores.ratio(hits, np.cumsum(times * counted, axis=1))
    precision = np.nan_to_num(precision)
    total = np.zeros(len(times))
    for tenth in range(_TENTHS + 1):
        reached = hits * _TENTHS >= tenth * to_find[:, None]  # in whole numbers: 0.6 is none as a float
        total += np.where(reached, precision, 0).max(axis=1, initial=0)
    return np.where(to_find > 0, total / (_TENTHS + 1), np.nan)
