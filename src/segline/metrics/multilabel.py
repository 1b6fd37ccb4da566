"""The scorer of multi-label segmentation: for each class of each image, which pixels are rightly found, wrongly found, and missed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.class_masks import class_masks
from segline.data.store import Sample
from segline.metrics import class_scores
from segline.metrics.class_plots import write_class_plots
from segline.metrics.details import Detail, rows_of
from segline.metrics.iou import iou
from segline.metrics.label_counts import LabelCounts
from segline.metrics.pixel_counts import Sums
from segline_runtime.predictions import MultilabelPrediction, Prediction
from segline_runtime.specification import ClassInfo

State = dict[int, tuple[str, Mapping[str, Mapping[str, NDArray[Any]]]]]
"""Image id → name, and the rows of its counts."""


class MultilabelScorer:
    """See `segline.metrics.scorer`."""

    def __init__(self, classes: Sequence[ClassInfo], details: Sequence[Detail] = ()) -> None:
        """details: what is counted beside what always is."""
        self.classes = tuple(classes)
        self.details = tuple(details)
        self._images: State = {}

    def add(self, prediction: Prediction, truth: Sample) -> float:
        """Take one image in; return its own mean IoU over the classes present in its truth or prediction, 1 when there is none."""
        assert isinstance(prediction, MultilabelPrediction)
        true = class_masks(truth, self.classes)
        rows = {**LabelCounts.record(true, prediction.masks), **rows_of(self.details, prediction, truth, len(self.classes))}
        self._images[truth.image_id] = (truth.name, rows)
        tp, fp, fn = (rows["label"][column].astype(np.float64) for column in ("tp", "fp", "fn"))
        score = class_scores.mean(iou(Sums(tp, tp + fn, tp + fp)))
        return 1.0 if math.isnan(score) else score

    def counts(self) -> LabelCounts:
        return LabelCounts.of(self._images, [info.name for info in self.classes])

    def state(self) -> State:
        return self._images

    def merge(self, state: State) -> None:
        self._images = self._images | state

    def write_plots(self, folder: Path) -> None:
        """classes.png, classes.csv."""
        write_class_plots(self.counts(), self.classes, folder)
