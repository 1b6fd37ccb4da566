"""The scorer of semantic segmentation: the confusion matrix of each image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.store import Sample
from segline.drawing.confusion import confusion_picture
from segline.drawing.tables import write_csv
from segline.metrics import class_scores, confusion
from segline.metrics.class_plots import write_class_plots
from segline.metrics.details import Detail, rows_of
from segline.metrics.iou import iou
from segline.metrics.pixel_counts import PixelCounts, Sums
from segline_runtime.predictions import Prediction, SemanticPrediction
from segline_runtime.specification import ClassInfo

State = dict[int, tuple[str, Mapping[str, Mapping[str, NDArray[Any]]]]]
"""Image id → name, and the rows of its counts."""


class SemanticScorer:
    """See `segline.metrics.scorer`."""

    def __init__(self, classes: Sequence[ClassInfo], details: Sequence[Detail] = ()) -> None:
        """details: what is counted beside what always is."""
        self.classes = tuple(classes)
        self.details = tuple(details)
        self._images: State = {}

    def add(self, prediction: Prediction, truth: Sample) -> float:
        """Take one image in; return its own mean IoU over the classes present in its truth or prediction, 1 when no pixel of it is scored."""
        assert isinstance(prediction, SemanticPrediction) and truth.mask is not None
        matrix = confusion.count(truth.mask, prediction.class_ids, len(self.classes))
        rows = {**PixelCounts.record(matrix), **rows_of(self.details, prediction, truth, len(self.classes))}
        self._images[truth.image_id] = (truth.name, rows)
        score = class_scores.mean(iou(Sums(*(part.astype(np.float64) for part in (matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0))))))
        return 1.0 if math.isnan(score) else score

    def counts(self) -> PixelCounts:
        return PixelCounts.of(self._images, [info.name for info in self.classes])

    def state(self) -> State:
        return self._images

    def merge(self, state: State) -> None:
        self._images = self._images | state

    def write_plots(self, folder: Path) -> None:
        """confusion_matrix.png (each row in percent of its class's true pixels), confusion_matrix.csv (pixels), classes.png, classes.csv.

        Each table is sorted and has its figure in the last column: that is what DVC draws of a table in a folder of plots.
        """
        counts = self.counts()
        names = [info.name for info in self.classes]
        confusion_picture(counts.confusion, names, folder / "confusion_matrix.png")
        largest_first = [divmod(int(cell), len(names)) for cell in np.argsort(-counts.confusion, axis=None, kind="stable")]
        cells = [(names[truth], names[predicted], counts.confusion[truth, predicted]) for truth, predicted in largest_first]
        write_csv(folder / "confusion_matrix.csv", ["truth", "predicted", "pixels"], cells)
        write_class_plots(counts, self.classes, folder)
