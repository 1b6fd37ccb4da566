"""Multi-label segmentation, the light half: for each class the pixels that are of it; a pixel may be of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from segline.data.store import Sample, Truth
from segline.drawing.sheet import Panels
from segline.metrics.details import Detail
from segline.metrics.multilabel import MultilabelScorer
from segline.tasks.base import Picture
from segline.tasks.multilabel import drawing
from segline.tasks.multilabel.ceiling import ceiling
from segline.tasks.multilabel.results import MultilabelResults
from segline_runtime.multilabel import MultilabelPrediction
from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo, Geometry, Specification


class MultilabelTask:
    """See `segline.tasks.base.Task`."""

    name: str = "multilabel"
    truths: tuple[Truth, ...] = ("instances", "index")
    metric: str = "miou"
    counts: str = "labels"
    metrics: tuple[str, ...] = ("label_iou", "label_dice", "label_accuracy", "label_iou_per_image", "label_dice_per_image", "label_support")
    limits: ClassVar[Mapping[str, float]] = {"differing_pixels": 0.0001, "probability": 0.0001}
    beyond_rounding: frozenset[str] = frozenset()

    def scorer(self, classes: Sequence[ClassInfo], details: Sequence[Detail] = ()) -> MultilabelScorer:
        return MultilabelScorer(classes, details)

    def ceiling(self, truth: Sample, geometries: Sequence[Geometry], specification: Specification) -> MultilabelPrediction:
        """See `segline.tasks.multilabel.ceiling`."""
        return ceiling(truth, geometries, specification.classes)

    def disagreement(self, first: Prediction, second: Prediction) -> dict[str, float]:
        """`differing_pixels`: share of the pixels of all classes; `probability`: largest difference of any class at any pixel, where both have probabilities.

        Predictions of different sizes differ everywhere.
        """
        assert isinstance(first, MultilabelPrediction) and isinstance(second, MultilabelPrediction)
        if first.masks.shape != second.masks.shape:
            return {"differing_pixels": 1.0, "probability": 1.0}
        figures = {"differing_pixels": float(np.mean(first.masks != second.masks))}
        if first.probabilities is not None and second.probabilities is not None:
            figures["probability"] = float(np.abs(first.probabilities - second.probabilities).max())
        return figures

    def findings(self, prediction: Prediction) -> int:
        """Pixels, of all classes: that a class is nowhere is an answer as well."""
        assert isinstance(prediction, MultilabelPrediction)
        return prediction.masks.size

    def overlay(self, image: Picture, prediction: Prediction, classes: Sequence[ClassInfo]) -> Picture:
        return drawing.overlay(image, prediction, classes)

    def panels(self, sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], image: Picture) -> Panels:
        return drawing.panels(sample, prediction, classes, image)

    def result_files(self, out: Path, specification: Specification, *, probabilities: bool) -> MultilabelResults:
        return MultilabelResults(out, specification, probabilities=probabilities)


TASK = MultilabelTask()
