"""Focal loss of each class against the rest: −(α (1 − p)^γ g log p + (1 − α) p^γ (1 − g) log(1 − p)) with the sigmoid p of the class's own logit (Lin 2017).

The mean is over classes and the pixels that are not ignored. The largest logit is the prediction, as elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.losses.border import BorderWeightedLoss
from segline.losses.overlap import one_hot
from segline.losses.pixelwise import class_mean
from segline.settings import Fraction, NotNegative

if TYPE_CHECKING:
    from torch import Tensor


class Settings(BorderWeightedLoss):
    """Binary cross-entropy, class by class, in which pixels that are right already count less: RetinaNet's form of the focal loss."""

    alpha: Fraction = 0.25  # weight of a class's own pixels; all others have 1 − alpha
    gamma: NotNegative = 2.0  # how much less a pixel counts that is right

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None, truth_map: Tensor | None = None) -> Tensor:
        from torchvision.ops import sigmoid_focal_loss

        g = one_hot(truth, logits.shape[1]).to(logits.dtype)
        return class_mean(sigmoid_focal_loss(logits, g, alpha=self.alpha, gamma=self.gamma), truth, class_weights, self.border_weights(truth_map))
