"""Mean over images of each image's own mean IoU of classes that may overlap; an image of which no pixel is scored takes no part."""

from __future__ import annotations

from segline.metrics.base import Metric
from segline.metrics.iou_per_image import IoUPerImage


class LabelIoUPerImage(IoUPerImage):
    """`miou_per_image`."""

    counts = "labels"


METRIC: Metric = LabelIoUPerImage()
