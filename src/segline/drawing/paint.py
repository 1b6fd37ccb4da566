"""Colours over a photograph. Pictures are RGB uint8 `(H, W, 3)`, colours RGB 0…255, class ids `(H, W)`, object masks `(H, W)`.

What is painted lets the photograph shine through, and what is not painted stays as bright as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.data.store import BACKDROP
from segline_runtime.masks import extent
from segline_runtime.specification import ClassInfo

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

RIGHT: Colour = (0, 170, 110)
WRONG: Colour = (235, 30, 50)
MISSED: Colour = (50, 105, 245)
EXTRA: Colour = (250, 145, 0)
IGNORED: Colour = (140, 140, 140)

_LINE: Colour = (255, 255, 255)
_COVER = 0.5  # share of the colour in what is painted
_SHADES = (0.0, 0.4, -0.35, 0.2, -0.18)  # towards white, or black: by which objects of one class are told apart


@dataclass(frozen=True)
class DrawnObject:
    """An object as it is painted. An empty `tag` writes nothing."""

    mask: NDArray[np.bool_]  # (H, W)
    colour: Colour
    tag: str = ""


def faded(picture: Picture) -> Picture:
    """Pale and grey, so that colours stand out."""
    grey = picture.astype(np.float32).mean(axis=2, keepdims=True)
    return np.repeat((80 + 0.62 * grey).astype(np.uint8), 3, axis=2)


def blend(picture: Picture, where: NDArray[np.bool_], colour: Colour, share: float) -> None:
    """Mix a colour into the pixels `where` `(H, W)` of `picture` itself; `share` 1 covers them."""
    picture[where] = ((1 - share) * picture[where] + share * np.array(colour)).astype(np.uint8)


def shade(colour: Colour, number: int) -> Colour:
    """The colour of the number-th object, from 0 on, of a class of this colour."""
    share = _SHADES[number % len(_SHADES)]
    red, green, blue = (round(c + share * (255 - c)) if share > 0 else round(c * (1 + share)) for c in colour)
    return red, green, blue


def paint_classes(picture: Picture, ids: Picture, classes: Sequence[ClassInfo]) -> Picture:
    """Every pixel half in its class's colour, with white lines between classes; values that are no class are grey, and a background is left as it is."""
    colours = np.full((256, 3), IGNORED, dtype=np.float32)
    cover = np.full((256, 1), _COVER, dtype=np.float32)
    for info in classes:
        colours[info.id] = info.color
        cover[info.id] = 0 if info.color == BACKDROP else _COVER
    painted = ((1 - cover)[ids] * picture + (cover * colours)[ids]).astype(np.uint8)
    blend(painted, _borders(ids), _LINE, 0.75)
    return painted


def paint_objects(picture: Picture, objects: Sequence[DrawnObject]) -> Picture:
    """Filled and outlined objects, large ones first so that small ones stay visible."""
    painted = picture.copy()
    ordered = sorted(objects, key=lambda drawn: -int(np.count_nonzero(drawn.mask)))
    for drawn in ordered:
        rows, columns = extent(drawn.mask)
        blend(painted[rows, columns], drawn.mask[rows, columns], drawn.colour, _COVER)
    for drawn in ordered:
        _outline(painted, drawn)
    return painted


def line_width(shape: Sequence[int]) -> int:
    """Of a picture `(H, W, …)`, in pixels: thicker in large ones."""
    return max(1, round(min(shape[:2]) / 350))


def _borders(ids: Picture) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour is of another class, `(H, W)`: only borders inside the picture are lines."""
    borders = np.zeros(ids.shape, dtype=np.bool_)
    borders[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    borders[:-1] |= ids[:-1] != ids[1:]
    width = line_width(ids.shape)
    if width == 1:
        return borders
    return np.asarray(cv2.dilate(borders.astype(np.uint8), np.ones((width, width), np.uint8)) > 0)


def _outline(picture: Picture, drawn: DrawnObject) -> None:
    """A line around the object and around its holes, in a lighter tone of its colour."""
    rows, columns = extent(drawn.mask)
    if rows.start == rows.stop:
        return
    outlines, _ = cv2.findContours(drawn.mask[rows, columns].astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(columns.start, rows.start))
    light = tuple(int(c + 0.6 * (255 - c)) for c in drawn.colour)
    cv2.drawContours(picture, outlines, -1, light, line_width(picture.shape), cv2.LINE_AA)
