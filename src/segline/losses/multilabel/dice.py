"""Soft Dice loss, as `segline.losses.dice`, of each class's sigmoid; the mean over the classes that are present in the batch's truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.losses import dice
from segline.losses.multilabel.truth import sums

if TYPE_CHECKING:
    from torch import Tensor


class Settings(dice.Settings):
    """Overlap of prediction and truth, class by class."""

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG002
        of = sums(logits, truth, squared=self.squared)
        return of.mean(1 - (2 * of.both + self.epsilon) / (of.p + of.g + self.epsilon))
