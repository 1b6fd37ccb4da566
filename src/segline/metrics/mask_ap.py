"""COCO's average precision of masks."""

from __future__ import annotations

from segline.metrics.average_precision import AveragePrecision
from segline.metrics.base import Metric

METRIC: Metric = AveragePrecision("mask")
