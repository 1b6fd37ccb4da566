"""Mean over images of each image's own mean Dice of classes that may overlap.

An image that shows none of them and of which none is said counts 1; one of which no pixel is scored takes no part.
"""

from __future__ import annotations

from segline.metrics.base import Metric, Values
from segline.metrics.dice_per_image import DicePerImage
from segline.metrics.label_counts import LabelCounts
from segline.metrics.pixel_counts import ClassPixels


class LabelDicePerImage(DicePerImage):
    """`mdice_per_image`."""

    counts = "labels"

    def scores(self, counts: ClassPixels) -> Values:
        assert isinstance(counts, LabelCounts)
        return counts.rightly_empty(super().scores(counts))


METRIC: Metric = LabelDicePerImage()
