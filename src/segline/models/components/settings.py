"""The keys of `arch: components`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from segline.models.composed_settings import ComposedSettings
from segline.settings import Count, Section


class Pixels(Section):
    """Which pixels are one object, and which objects are kept."""

    min_size: Count = 16  # pixels of the image: what is smaller is dropped
    connectivity: Literal[4, 8] = 8  # 4: pixels that share a side belong together; 8: also those that share a corner
    max_detections: Count = 100  # the best of an image that are kept
    stuff: bool = True  # whether a pixel may be stuff; false: each is taken for the likeliest thing


class Settings(ComposedSettings):
    """Objects as connected components of what a semantic model calls things: the baseline where objects do not touch. Score: the mean probability."""

    task_of_arch: ClassVar[str] = "instance"
    averages: ClassVar[str] = "cut into objects"
    runtime: ClassVar[tuple[str, ...]] = ("segline_runtime.semantic", "segline_runtime.components")

    arch: Literal["components"] = "components"
    of: Annotated[str, Field(min_length=1)]  # name of a semantic model that stands above this entry
    predict: Pixels = Pixels()

    @property
    def members(self) -> tuple[str, ...]:
        return (self.of,)

    def unthresholded(self) -> Self:
        """With every object, and a thing in every pixel: parity then has objects to compare whatever the model says."""
        return self.model_copy(update={"predict": self.predict.model_copy(update={"min_size": 1, "stuff": False})})
