"""Tversky loss: 1 − TP / (TP + α FP + β FN) with TP = Σ p g, FP = Σ p (1 − g), FN = Σ (1 − p) g (Salehi 2017).

α = β = 0.5 is Dice, α = β = 1 Jaccard. Sums run over batch and pixels per class, ignored pixels left out; the mean is over the classes that are present
in the batch's truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.losses.base import LossSettings
from segline.losses.overlap import sums
from segline.settings import NotNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor


class Settings(LossSettings):
    """Overlap of prediction and truth in which missed and false pixels weigh differently, class by class."""

    alpha: NotNegative = 0.3  # weight of what is found and is not there
    beta: NotNegative = 0.7  # weight of what is there and is not found
    epsilon: Positive = 1.0  # added above and below, in pixels: keeps a class of few pixels from dominating

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG002
        of = sums(logits, truth)
        found_wrongly, missed = of.p - of.both, of.g - of.both
        below = of.both + self.alpha * found_wrongly + self.beta * missed
        return of.mean(1 - (of.both + self.epsilon) / (below + self.epsilon))
