"""The border weight map of U-Net: w(x) = w_c(x) + w0 · exp(−(d1(x) + d2(x))² / 2σ²) (Ronneberger 2015).

Pixels between objects that nearly touch count more, so that the network learns to keep these apart. d1 and d2 are the distances to the nearest and the second
nearest object, w_c the class weight. The map is made at the image's own size, where σ is meant, and follows the image through resizing and augmentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.losses.base import ClassWeightedLoss, MappedLoss
from segline.losses.truth_maps import Closeness, ObjectsOf
from segline.settings import NotNegative, Positive, Section

if TYPE_CHECKING:
    from torch import Tensor


class Border(Section):
    """More weight for the pixels between objects."""

    w0: NotNegative = 10.0  # weight that a pixel gains where two objects touch; class weights are around 1
    sigma: Positive = 5.0  # pixels of the original image: how wide the gaps are that count
    # instances: the data's own objects; components: connected pixels of one class, of the classes that are things (all but class 0 where none is)
    of: ObjectsOf = "components"


class BorderWeightedLoss(MappedLoss, ClassWeightedLoss):
    """A mean over pixels in which classes and borders can be weighted."""

    border: Border | None = None  # more weight between objects that nearly touch, as U-Net has it

    @property
    def wanted_map(self) -> Closeness | None:
        return None if self.border is None else Closeness(self.border.sigma, self.border.of)

    def border_weights(self, truth_map: Tensor | None) -> Tensor | None:
        """What each pixel counts more `(B, H, W)`; None where nobody asked for it."""
        if self.border is None:
            return None
        assert truth_map is not None, "the map that was asked for comes with each batch"
        return self.border.w0 * truth_map
