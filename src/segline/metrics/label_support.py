"""True pixels of each class, of classes that may overlap."""

from __future__ import annotations

from segline.metrics.base import Metric
from segline.metrics.class_support import ClassSupport


class LabelSupport(ClassSupport):
    """`support/<class>`; 0 for a class that the split lacks."""

    counts = "labels"


METRIC: Metric = LabelSupport()
