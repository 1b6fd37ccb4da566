"""Dice coefficient of classes that may overlap, from the pixels of all images together; absent classes as `segline.metrics.class_scores` says."""

from __future__ import annotations

from segline.metrics.base import Metric
from segline.metrics.dice import Dice


class LabelDice(Dice):
    """`mdice`: mean over the classes that take part; `dice/<class>`."""

    counts = "labels"


METRIC: Metric = LabelDice()
