"""Binary cross-entropy of each class against the rest: −(β g log p + (1 − g) log(1 − p)) with the sigmoid p of the class's own logit.

The mean is over classes and the pixels that are not ignored. β is 1, a number (weighted cross-entropy), or balanced as in HED (Xie 2015):
−(β g log p + (1 − β) (1 − g) log(1 − p)), β = share of the batch's pixels that are not of the class. The largest logit is the prediction, as elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from segline.data.store import IGNORE
from segline.losses.border import BorderWeightedLoss
from segline.losses.overlap import one_hot
from segline.losses.pixelwise import class_mean
from segline.settings import Positive

if TYPE_CHECKING:
    from torch import Tensor


class Settings(BorderWeightedLoss):
    """Cross-entropy of a sigmoid for each class against the rest."""

    positive_weight: Positive | Literal["balanced"] = 1.0  # β: weight of a class's own pixels, or balanced: by its share of the batch

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None, truth_map: Tensor | None = None) -> Tensor:
        from torch.nn import functional as F

        border = self.border_weights(truth_map)
        g = one_hot(truth, logits.shape[1])
        found, refused = -F.logsigmoid(logits), -F.logsigmoid(-logits)
        if self.positive_weight != "balanced":
            return class_mean(self.positive_weight * g * found + (1 - g) * refused, truth, class_weights, border)
        scored = (truth != IGNORE).unsqueeze(1)
        own = (g * scored).sum((0, 2, 3)) / scored.sum().clamp(min=1)
        beta = (1 - own).view(1, -1, 1, 1)
        return class_mean(beta * g * found + (1 - beta) * (1 - g) * refused, truth, class_weights, border)
