"""COCO's average precision of boxes."""

from __future__ import annotations

from segline.metrics.average_precision import AveragePrecision
from segline.metrics.base import Metric

METRIC: Metric = AveragePrecision("box")
