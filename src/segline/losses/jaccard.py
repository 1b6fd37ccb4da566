"""Soft Jaccard loss (soft IoU): J = Σ p g / Σ (p + g − p g); 1 − J, or with the logarithm 1 − log J, whose minimum is 1.

Sums run over batch and pixels per class, ignored pixels left out; the mean is over the classes that are present in the batch's truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.losses.base import LossSettings
from segline.losses.overlap import sums
from segline.settings import Positive

if TYPE_CHECKING:
    from torch import Tensor


class Settings(LossSettings):
    """Intersection over union of prediction and truth, class by class."""

    epsilon: Positive = 1.0  # added above and below, in pixels: keeps a class of few pixels from dominating
    log: bool = False  # 1 − log J, which is steep where a class is missed

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG002
        of = sums(logits, truth)
        index = (of.both + self.epsilon) / (of.p + of.g - of.both + self.epsilon)
        return of.mean(1 - (index.log() if self.log else index))
