"""Instance segmentation, the light half: objects, each with class, score, box and mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from segline.data.store import Sample, Truth
from segline.drawing.sheet import Panels
from segline.metrics.details import Detail
from segline.metrics.instance import InstanceScorer
from segline.tasks.base import Picture
from segline.tasks.instance import ceiling, drawing
from segline.tasks.instance.disagreement import disagreement
from segline.tasks.instance.results import InstanceResults
from segline_runtime.instance import InstancePrediction
from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo, Geometry, Specification


class InstanceTask:
    """See `segline.tasks.base.Task`."""

    name: str = "instance"
    truths: tuple[Truth, ...] = ("instances",)
    metric: str = "mask_ap"
    counts: str = "detections"
    metrics: tuple[str, ...] = ("mask_ap", "box_ap", "object_support")
    limits: ClassVar[Mapping[str, float]] = {
        "box_px": 0.01,
        "score": 0.0001,
        "mask_iou_loss": 0.01,
        "unmatched": 0.0,
        "unmatched_score": 0.0,
        "nothing_matched": 0.0,
    }
    beyond_rounding: frozenset[str] = frozenset({"nothing_matched"})

    def scorer(self, classes: Sequence[ClassInfo], details: Sequence[Detail] = ()) -> InstanceScorer:
        return InstanceScorer(classes, details)

    def ceiling(self, truth: Sample, geometries: Sequence[Geometry], specification: Specification) -> InstancePrediction:
        """See `segline.tasks.instance.ceiling`."""
        return ceiling.ceiling(truth, geometries, specification)

    def disagreement(self, first: Prediction, second: Prediction) -> dict[str, float]:
        """See `segline.tasks.instance.disagreement`."""
        assert isinstance(first, InstancePrediction) and isinstance(second, InstancePrediction)
        return disagreement(first, second)

    def findings(self, prediction: Prediction) -> int:
        """Detections."""
        assert isinstance(prediction, InstancePrediction)
        return len(prediction.scores)

    def overlay(self, image: Picture, prediction: Prediction, classes: Sequence[ClassInfo]) -> Picture:
        return drawing.overlay(image, prediction, classes)

    def panels(self, sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], image: Picture) -> Panels:
        return drawing.panels(sample, prediction, classes, image)

    def result_files(self, out: Path, specification: Specification, *, probabilities: bool) -> InstanceResults:
        return InstanceResults(out, specification, probabilities=probabilities)


TASK = InstanceTask()
