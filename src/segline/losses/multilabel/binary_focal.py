"""Focal loss of each class's sigmoid (Lin 2017), as `segline.losses.binary_focal`; the mean over classes and the pixels that are not ignored for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.losses import binary_focal
from segline.losses.multilabel.truth import class_mean, parted

if TYPE_CHECKING:
    from torch import Tensor


class Settings(binary_focal.Settings):
    """Binary cross-entropy in which pixels that are right already count less."""

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None, truth_map: Tensor | None = None) -> Tensor:  # noqa: ARG002
        from torchvision.ops import sigmoid_focal_loss

        g, scored = parted(truth, logits)
        return class_mean(sigmoid_focal_loss(logits, g, alpha=self.alpha, gamma=self.gamma), scored, class_weights)
