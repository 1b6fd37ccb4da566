"""Online hard example mining: the mean cross-entropy of the k hardest pixels (bootstrapped cross-entropy, Wu 2016; Shrivastava 2016).

k is a share of the batch's pixels that are not ignored; with a threshold, every pixel is kept besides whose true class has a smaller probability.
Weights of classes and borders weigh the kept pixels; which are kept is decided without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from segline.data.store import IGNORE
from segline.losses.border import BorderWeightedLoss
from segline.losses.pixelwise import shares, weighted_mean

if TYPE_CHECKING:
    from torch import Tensor


class Settings(BorderWeightedLoss):
    """Cross-entropy of the hardest pixels alone."""

    keep: Annotated[float, Field(gt=0, le=1)] = 0.25  # share of the pixels that counts, the hardest first; 1 is plain cross-entropy
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None  # pixels less sure than this count too, however many they are; 0.7 is usual

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None, truth_map: Tensor | None = None) -> Tensor:
        import math

        from torch.nn import functional as F

        scored = truth != IGNORE
        losses = F.cross_entropy(logits, truth, ignore_index=IGNORE, reduction="none")[scored]  # (N,)
        count = math.ceil(self.keep * len(losses))
        if self.threshold is not None:
            count = max(count, int((losses > -math.log(self.threshold)).sum()))
        hardest = losses.topk(count)
        weights = shares(truth, class_weights, self.border_weights(truth_map))[scored][hardest.indices]
        return weighted_mean(hardest.values, weights)
