"""Intersection over union of classes that may overlap, from the pixels of all images together; absent classes as `segline.metrics.class_scores` says."""

from __future__ import annotations

from segline.metrics.base import Metric
from segline.metrics.iou import IoU


class LabelIoU(IoU):
    """`miou`: mean over the classes that take part; `iou/<class>`."""

    counts = "labels"


METRIC: Metric = LabelIoU()
