"""Counts of multi-label segmentation: of each image and class the pixels that are rightly found, wrongly found, and missed.

Legend: N images, K classes, H × W pixels of an image. All counts are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from segline.data.class_masks import Masks
from segline.data.store import IGNORE
from segline.metrics.pixel_counts import ClassPixels

_COLUMNS = ("tp", "fp", "fn", "scored")


@dataclass(frozen=True, eq=False)
class LabelCounts(ClassPixels):
    """See `segline.metrics.base.Counts`. Table `label`: a row for each class (`label`) of which an image has pixels that are not ignored.

    `tp`: of the class and found; `fp`: found and not of it; `fn`: of it and not found; `scored`: all that are not ignored for it.
    """

    kind: ClassVar[str] = "labels"
    empty: ClassVar = {"label": {"label": np.zeros(0, np.int32), **{name: np.zeros(0, np.int64) for name in _COLUMNS}}}

    @staticmethod
    def record(truth: Masks, predicted: NDArray[np.bool_]) -> dict[str, dict[str, NDArray[np.int32] | NDArray[np.int64]]]:
        """The rows of one image, of masks `(K, H, W)`. Raises ValueError for masks of different shapes."""
        if truth.shape != predicted.shape:
            raise ValueError(f"truth is {truth.shape} and prediction {predicted.shape}; they must have the same shape")
        rows = []
        for label, (true, found) in enumerate(zip(truth, predicted, strict=True)):
            scored, own = np.count_nonzero(true != IGNORE), np.count_nonzero(true == 1)
            right, wrong = np.count_nonzero(found & (true == 1)), np.count_nonzero(found & (true == 0))
            if scored:
                rows.append((label, right, wrong, own - right, scored))
        columns = np.array(rows, dtype=np.int64).reshape(-1, 1 + len(_COLUMNS)).T
        return {"label": {"label": columns[0].astype(np.int32), **dict(zip(_COLUMNS, columns[1:], strict=True))}}

    @cached_property
    def tp(self) -> NDArray[np.int64]:
        return self._of("tp")

    @cached_property
    def truth(self) -> NDArray[np.int64]:
        return self.tp + self._of("fn")

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        return self.tp + self._of("fp")

    @cached_property
    def scored(self) -> NDArray[np.int64]:
        """Pixels of each image that are not ignored, per class `(N, K)`."""
        return self._of("scored")

    @cached_property
    def right(self) -> NDArray[np.int64]:
        """Pixels of each image of which the answer is right, be it yes or no, per class `(N, K)`."""
        return self.scored - self._of("fp") - self._of("fn")

    def rightly_empty(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of images `(N,)`, with 1 for those that show no class and of which none is said; NaN is left to images of which no pixel is scored."""
        return np.where(np.isnan(scores) & self.scored.any(axis=1), 1.0, scores)

    def _of(self, column: str) -> NDArray[np.int64]:
        return self.per_class("label", column).astype(np.int64)
