"""What a loss is: one file with its settings, whose method `compute` is the loss itself. Light until it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.losses.class_weights import ClassWeights
from segline.losses.truth_maps import TruthMap
from segline.settings import NotNegative, Section

if TYPE_CHECKING:
    from torch import Tensor


class LossSettings(Section):
    """The keys of one loss. In params.yaml a number alone is its weight: `dice: 1.0`."""

    weight: NotNegative = 1.0  # of the loss in the sum

    @property
    def wanted_class_weights(self) -> ClassWeights:
        """How classes are weighted; a loss that offers the choice has a key `class_weights`."""
        return "none"

    @property
    def wanted_map(self) -> TruthMap | None:
        """What it reads of each image beside the class ids; see `MappedLoss`."""
        return None

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:
        """Logits `(B, K, H, W)` float32, class ids `(B, H, W)` (255 = ignore), class weights `(K,)` → scalar; 0 where every pixel is ignored."""
        raise NotImplementedError


class ClassWeightedLoss(LossSettings):
    """A loss whose classes can be weighted."""

    class_weights: ClassWeights = "none"  # none, balanced, median_frequency, enet, one number per class, or auto: enet where a class is rare, else none

    @property
    def wanted_class_weights(self) -> ClassWeights:
        return self.class_weights


class MappedLoss(LossSettings):
    """A loss that reads a map of the truth beside the class ids, where its `wanted_map` names one."""

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None, truth_map: Tensor | None = None) -> Tensor:
        """As `LossSettings.compute`; `truth_map` is float32, the batch of the map that `wanted_map` names."""
        raise NotImplementedError
