"""The statistics of ImageNet's photographs, with which most published weights were trained. Light: the plan decides by them, too."""

from __future__ import annotations

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, red first, of values scaled to 0…1."""

IMAGENET_STATISTICS: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
