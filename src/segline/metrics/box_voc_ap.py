"""VOC 2007's average precision of boxes, by 11 points."""

from __future__ import annotations

from segline.metrics.base import Metric
from segline.metrics.voc_average_precision import VocAveragePrecision

METRIC: Metric = VocAveragePrecision("box")
