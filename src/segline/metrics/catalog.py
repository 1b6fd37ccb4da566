"""The metrics by their word. To add one is to add its module and a line here."""

from __future__ import annotations

from segline import choices
from segline.metrics.base import Metric

METRICS: dict[str, str] = {
    "iou": "segline.metrics.iou",
    "dice": "segline.metrics.dice",
    "pixel_accuracy": "segline.metrics.pixel_accuracy",
    "pixel_error": "segline.metrics.pixel_error",
    "class_accuracy": "segline.metrics.class_accuracy",
    "fw_iou": "segline.metrics.fw_iou",
    "iou_per_image": "segline.metrics.iou_per_image",
    "dice_per_image": "segline.metrics.dice_per_image",
    "boundary_iou": "segline.metrics.boundary_iou",
    "boundary_f1": "segline.metrics.boundary_f1",
    "stuff_pq": "segline.metrics.stuff_pq",
    "ece": "segline.metrics.ece",
    "thresholds": "segline.metrics.thresholds",
    "class_support": "segline.metrics.class_support",
    "label_iou": "segline.metrics.label_iou",
    "label_dice": "segline.metrics.label_dice",
    "label_accuracy": "segline.metrics.label_accuracy",
    "label_iou_per_image": "segline.metrics.label_iou_per_image",
    "label_dice_per_image": "segline.metrics.label_dice_per_image",
    "label_support": "segline.metrics.label_support",
    "mask_ap": "segline.metrics.mask_ap",
    "box_ap": "segline.metrics.box_ap",
    "mask_voc_ap": "segline.metrics.mask_voc_ap",
    "box_voc_ap": "segline.metrics.box_voc_ap",
    "pq": "segline.metrics.pq",
    "object_support": "segline.metrics.object_support",
}
"""Word → module, which holds the metric as `METRIC`."""

LESS_IS_BETTER = frozenset({"pixel_error", "ece"})
"""Those of which the smaller figure is the better one."""


def get(word: str) -> Metric:
    """The metric of a word. Raises ParametersError, naming the nearest ones."""
    metric: Metric = choices.module(METRICS, "metric", word).METRIC
    return metric
