"""Tversky loss, as `segline.losses.tversky`, of each class's sigmoid; the mean over the classes that are present in the batch's truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.losses import tversky
from segline.losses.multilabel.truth import sums

if TYPE_CHECKING:
    from torch import Tensor


class Settings(tversky.Settings):
    """Overlap in which missed and false pixels weigh differently, class by class."""

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG002
        of = sums(logits, truth)
        below = of.both + self.alpha * (of.p - of.both) + self.beta * (of.g - of.both)
        return of.mean(1 - (of.both + self.epsilon) / (below + self.epsilon))
