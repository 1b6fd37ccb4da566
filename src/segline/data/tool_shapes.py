"""Shapes as the exports of annotation tools draw them, where these count other pixels than COCO's rule does (`segline.data.masks`).

Pillow (labelme) and OpenCV (Supervisely, Labelbox) also fill each pixel that the outline touches. OpenCV has whole coordinates, which are numbers of pixels:
a square from 2 to 4 covers three of them in each direction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segline.data.masks import Box, Ellipse, Mask, Outline, Points, clipped

_FARTHEST = 1e5
"""Pixels that a shape may reach from the image's corner: the time of Pillow and OpenCV goes with it."""


@dataclass(frozen=True, eq=False)
class Touched(Outline):
    """A polygon as Pillow draws it."""

    def draw(self, size: tuple[int, int]) -> Mask:
        image = Image.new("L", size[::-1])
        points = _near(self.corners(size), size)
        if len(points) >= 3:
            ImageDraw.Draw(image).polygon([(x, y) for x, y in points.tolist()], outline=1, fill=1)
        return np.asarray(image) > 0


@dataclass(frozen=True)
class TouchedCircle:
    """A circle by its middle and a point of its rim, as Pillow draws it."""

    x: float
    y: float
    rim_x: float
    rim_y: float

    def draw(self, size: tuple[int, int]) -> Mask:
        image = Image.new("L", size[::-1])
        radius = math.hypot(self.rim_x - self.x, self.rim_y - self.y)
        if max(abs(self.x), abs(self.y), radius) > _FARTHEST:
            raise ValueError(
                f"its circle has a radius of {radius:.3g} pixels around ({self.x:.3g}, {self.y:.3g}), which no image has; draw it again or remove it"
            )
        ImageDraw.Draw(image).ellipse([self.x - radius, self.y - radius, self.x + radius, self.y + radius], outline=1, fill=1)
        return np.asarray(image) > 0


@dataclass(frozen=True)
class TouchedBox(Box):
    """A rectangle as Pillow draws it."""

    def draw(self, size: tuple[int, int]) -> Mask:
        image = Image.new("L", size[::-1])
        here = self.at(size)
        corners = [here.x, here.y, here.x + here.width, here.y + here.height]
        ImageDraw.Draw(image).rectangle([max(-_FARTHEST, min(_FARTHEST, side)) for side in corners], outline=1, fill=1)
        return np.asarray(image) > 0


@dataclass(frozen=True, eq=False)
class Filled(Outline):
    """A polygon as OpenCV fills it; its holes are filled likewise, with what is no object, so that it loses the pixels of their outlines, too."""

    whole: Literal["floor", "trunc"] = "floor"  # how a coordinate becomes a whole one

    def draw(self, size: tuple[int, int]) -> Mask:
        import cv2  # slow to import, and only some tools need it

        canvas = np.zeros(size, dtype=np.uint8)
        outer = self._whole([self.corners(size)], size)
        if outer:
            cv2.fillPoly(canvas, outer, (1,))
        holes = self._whole(self.holes, size)
        if holes:
            cv2.fillPoly(canvas, holes, (0,))
        return canvas.astype(np.bool_)

    def _whole(self, polygons: Sequence[Points], size: tuple[int, int]) -> list[NDArray[np.int32]]:
        near = [_near(polygon, size) for polygon in polygons]
        rounded = np.floor if self.whole == "floor" else np.trunc
        return [rounded(polygon).astype(np.int32) for polygon in near if len(polygon) >= 3]


@dataclass(frozen=True)
class FilledBox(Box):
    """A rectangle as OpenCV fills it, by whole coordinates towards zero."""

    def draw(self, size: tuple[int, int]) -> Mask:
        return Filled(self.at(size).turned(0.0).points, whole="trunc").draw(size)


@dataclass(frozen=True)
class FilledEllipse(Ellipse):
    """An ellipse as OpenCV fills it, by a middle and half axes of whole pixels."""

    def draw(self, size: tuple[int, int]) -> Mask:
        import cv2

        if min(self.rx, self.ry) < 0 or max(abs(self.x), abs(self.y), self.rx, self.ry) > _FARTHEST:
            return super().draw(size)
        canvas = np.zeros(size, dtype=np.uint8)
        cv2.ellipse(canvas, (round(self.x), round(self.y)), (round(self.rx), round(self.ry)), self.degrees, 0, 360, (1,), thickness=-1)
        return canvas.astype(np.bool_)


def _near(polygon: Points, size: tuple[int, int]) -> Points:
    """A polygon that reaches too far, without what lies beyond the image by more than its size."""
    return clipped(polygon, size) if float(np.abs(polygon).max(initial=0.0)) > _FARTHEST else polygon
