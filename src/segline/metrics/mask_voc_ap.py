"""VOC 2007's average precision of masks, by 11 points."""

from __future__ import annotations

from segline.metrics.base import Metric
from segline.metrics.voc_average_precision import VocAveragePrecision

METRIC: Metric = VocAveragePrecision("mask")
