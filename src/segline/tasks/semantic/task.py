"""Semantic segmentation, the light half: a class for each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from segline.data.store import Sample, Truth
from segline.drawing.sheet import Panels
from segline.metrics.details import Detail
from segline.metrics.semantic import SemanticScorer
from segline.tasks.base import Picture
from segline.tasks.semantic import drawing
from segline.tasks.semantic.ceiling import there_and_back
from segline.tasks.semantic.results import SemanticResults
from segline_runtime.predictions import Prediction
from segline_runtime.semantic import SemanticPrediction
from segline_runtime.specification import ClassInfo, Geometry, Specification


class SemanticTask:
    """See `segline.tasks.base.Task`."""

    name: str = "semantic"
    truths: tuple[Truth, ...] = ("index",)
    metric: str = "miou"
    counts: str = "pixels"
    metrics: tuple[str, ...] = ("iou", "dice", "pixel_accuracy", "class_accuracy", "fw_iou", "iou_per_image", "dice_per_image", "class_support")
    limits: ClassVar[Mapping[str, float]] = {"differing_pixels": 0.0001, "probability": 0.0001}
    beyond_rounding: frozenset[str] = frozenset()

    def scorer(self, classes: Sequence[ClassInfo], details: Sequence[Detail] = ()) -> SemanticScorer:
        return SemanticScorer(classes, details)

    def ceiling(self, truth: Sample, geometries: Sequence[Geometry], specification: Specification) -> SemanticPrediction:  # noqa: ARG002
        """See `segline.tasks.semantic.ceiling`."""
        assert truth.mask is not None
        return SemanticPrediction(there_and_back(truth.mask, geometries))

    def disagreement(self, first: Prediction, second: Prediction) -> dict[str, float]:
        """`differing_pixels`: share of the image; `probability`: largest difference of any class at any pixel, where both have probabilities.

        Predictions of different sizes differ everywhere.
        """
        assert isinstance(first, SemanticPrediction) and isinstance(second, SemanticPrediction)
        if first.class_ids.shape != second.class_ids.shape:
            return {"differing_pixels": 1.0, "probability": 1.0}
        figures = {"differing_pixels": float(np.mean(first.class_ids != second.class_ids))}
        if first.probabilities is not None and second.probabilities is not None:
            figures["probability"] = float(np.abs(first.probabilities - second.probabilities).max())
        return figures

    def findings(self, prediction: Prediction) -> int:
        """Pixels."""
        assert isinstance(prediction, SemanticPrediction)
        return prediction.class_ids.size

    def overlay(self, image: Picture, prediction: Prediction, classes: Sequence[ClassInfo]) -> Picture:
        return drawing.overlay(image, prediction, classes)

    def panels(self, sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], image: Picture) -> Panels:
        return drawing.panels(sample, prediction, classes, image)

    def result_files(self, out: Path, specification: Specification, *, probabilities: bool) -> SemanticResults:
        return SemanticResults(out, specification, probabilities=probabilities)


TASK = SemanticTask()
