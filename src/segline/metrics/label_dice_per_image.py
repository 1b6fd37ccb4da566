"""Mean over images of each image's own mean Dice of classes that may overlap; an image of which no pixel is scored takes no part."""

from __future__ import annotations

from segline.metrics.base import Metric
from segline.metrics.dice_per_image import DicePerImage


class LabelDicePerImage(DicePerImage):
    """`mdice_per_image`."""

    counts = "labels"


METRIC: Metric = LabelDicePerImage()
