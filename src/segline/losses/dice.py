"""Soft Dice loss: 1 − 2 Σ p g / (Σ p + Σ g), or with squares below as V-Net has it, 1 − 2 Σ p g / (Σ p² + Σ g²) (Milletari 2016).

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
    """Overlap of prediction and truth, class by class."""

    epsilon: Positive = 1.0  # added above and below, in pixels: keeps a class of few pixels from dominating
    squared: bool = False  # sums of squares below, as V-Net has it

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG002
        of = sums(logits, truth, squared=self.squared)
        below = of.p + of.g
        return of.mean(1 - (2 * of.both + self.epsilon) / (below + self.epsilon))
