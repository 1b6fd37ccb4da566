"""Soft Jaccard loss, as `segline.losses.jaccard`, of each class's sigmoid; the mean over the classes that are present in the batch's truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.losses import jaccard
from segline.losses.multilabel.truth import sums

if TYPE_CHECKING:
    from torch import Tensor


class Settings(jaccard.Settings):
    """Intersection over union of prediction and truth, class by class."""

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG002
        of = sums(logits, truth)
        index = (of.both + self.epsilon) / (of.p + of.g - of.both + self.epsilon)
        return of.mean(1 - (index.log() if self.log else index))
