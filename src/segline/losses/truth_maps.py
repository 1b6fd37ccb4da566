"""What a loss can read of each image beside its class ids: a map made of the truth, pixel by pixel. Named here, made by `segline.training.truth_maps`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from segline.data.store import Truth

ObjectsOf = Literal["instances", "components"]


@dataclass(frozen=True)
class Closeness:
    """How near a pixel is to two objects at once: exp(−(d1 + d2)² / 2σ²), d1 and d2 its distances to the nearest and the second nearest; 0…1 `(H, W)`.

    Distances are between pixels' centres, in pixels of the image as it is on disk; inside an object its distance is 0. Without a second object it is 0.
    """

    sigma: float
    of: ObjectsOf  # the data's annotated objects, or connected pixels of one class

    @property
    def truth(self) -> Truth:
        """What it is made of."""
        return "instances" if self.of == "instances" else "index"

    @property
    def name(self) -> str:
        return f"closeness of {self.of}, sigma {self.sigma:g}"


@dataclass(frozen=True)
class SignedDistances:
    """How far a pixel is from each class's boundary: `(K, H, W)`, in pixels of the network's input.

    Outside the distance to the nearest pixel of the class; inside, negative, the distance to the nearest one that is not of it, less 1: the class's outermost
    pixels are its boundary. 0 for a class that the picture does not show, or shows alone: it has no boundary there. An ignored pixel is of no class.
    """

    @property
    def truth(self) -> Truth:
        """What it is made of."""
        return "index"

    @property
    def name(self) -> str:
        return "signed distances"


TruthMap = Closeness | SignedDistances
