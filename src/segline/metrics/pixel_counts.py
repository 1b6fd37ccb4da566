"""Counts of semantic segmentation: the confusion matrix of each image, of which only the cells that are not 0 are kept.

Legend: N images, K classes, R resamples, M cells of all images. All counts are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from segline.metrics.base import Values
from segline.metrics.confusion import Matrix
from segline.metrics.per_image import PerImage

BINS = {"confidence": 15, "threshold": 101}
"""Bins of the tables that have some."""


@dataclass(frozen=True)
class Sums:
    """Pixels per class `(…, K)`: rightly found, true, predicted."""

    tp: Values
    truth: Values
    predicted: Values


@dataclass(frozen=True, eq=False)
class ClassPixels(PerImage):
    """Counts of the pixels that are rightly found, true and predicted, of each image and class: what scores of classes are made of."""

    @property
    def tp(self) -> NDArray[np.int64]:
        """Pixels of each image rightly found, per class `(N, K)`."""
        raise NotImplementedError

    @property
    def truth(self) -> NDArray[np.int64]:
        """True pixels of each image, per class `(N, K)`."""
        raise NotImplementedError

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Predicted pixels of each image, per class `(N, K)`."""
        raise NotImplementedError

    def pooled(self) -> Sums:
        """Sums over all images `(K,)`."""
        return Sums(*(part.sum(axis=0).astype(np.float64) for part in (self.tp, self.truth, self.predicted)))

    def resampled(self, weights: NDArray[np.int64]) -> Sums:
        """Sums of R resamples `(R, K)`; `weights` `(R, N)`: how often each resample holds each image. Exact, as float64 holds such sums."""
        times = weights.astype(np.float64)
        return Sums(*(times @ part.astype(np.float64) for part in (self.tp, self.truth, self.predicted)))


@dataclass(frozen=True, eq=False)
class PixelCounts(ClassPixels):
    """See `segline.metrics.base.Counts`. Table `confusion`: `cell` = truth · K + predicted, and its `pixels`.

    On request, a row for each class (`label`) or bin that an image has pixels of:
    `boundary` (see `segline.metrics.boundary_counts`), `contour` (`contour_counts`), `confidence` (`confidence_counts`), `threshold` (`threshold_counts`).
    """

    kind: ClassVar[str] = "pixels"
    empty: ClassVar = {"confusion": {"cell": np.zeros(0, np.int32), "pixels": np.zeros(0, np.int64)}}
    on_request: ClassVar = {
        "boundary": {"label": np.zeros(0, np.int32), **{name: np.zeros(0, np.int64) for name in ("both", "truth", "predicted")}},
        "contour": {"label": np.zeros(0, np.int32), **{name: np.zeros(0, np.int64) for name in ("truth", "found", "predicted", "right")}},
        "confidence": {"bin": np.zeros(0, np.int32), "pixels": np.zeros(0, np.int64), "right": np.zeros(0, np.int64), "sum": np.zeros(0, np.float64)},
        "threshold": {"bin": np.zeros(0, np.int32), "positive": np.zeros(0, np.int64), "negative": np.zeros(0, np.int64)},
    }

    @staticmethod
    def record(matrix: Matrix) -> dict[str, dict[str, NDArray[np.int32] | NDArray[np.int64]]]:
        """The rows of one image."""
        cells = np.flatnonzero(matrix)
        return {"confusion": {"cell": cells.astype(np.int32), "pixels": matrix.ravel()[cells].astype(np.int64)}}

    @cached_property
    def confusion(self) -> Matrix:
        """The pooled confusion matrix `(K, K)`."""
        columns, classes = self.tables["confusion"].columns, len(self.classes)
        pooled = np.zeros(classes * classes, dtype=np.int64)
        np.add.at(pooled, columns["cell"], columns["pixels"])
        return pooled.reshape(classes, classes)

    @cached_property
    def tp(self) -> NDArray[np.int64]:
        """Pixels of each image rightly found, per class `(N, K)`."""
        columns, classes = self.tables["confusion"].columns, max(len(self.classes), 1)
        right = columns["cell"] // classes == columns["cell"] % classes
        return self._per_class(columns["cell"] // classes, np.where(right, columns["pixels"], 0))

    @cached_property
    def truth(self) -> NDArray[np.int64]:
        """True pixels of each image, per class `(N, K)`."""
        columns, classes = self.tables["confusion"].columns, max(len(self.classes), 1)
        return self._per_class(columns["cell"] // classes, columns["pixels"])

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Predicted pixels of each image, per class `(N, K)`."""
        columns, classes = self.tables["confusion"].columns, max(len(self.classes), 1)
        return self._per_class(columns["cell"] % classes, columns["pixels"])

    def _per_class(self, labels: NDArray[np.int32], pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        sums = np.zeros((len(self), len(self.classes)), dtype=np.int64)
        np.add.at(sums, (self.tables["confusion"].image, labels), pixels)
        return sums
