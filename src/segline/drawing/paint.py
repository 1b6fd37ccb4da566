"""Colours over a photograph. Pictures are RGB uint8 `(H, W, 3)`, colours RGB 0…255, class ids `(H, W)`, object masks `(H, W)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segline.drawing.fonts import font
from segline_runtime.specification import ClassInfo

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

RIGHT: Colour = (0, 190, 130)
WRONG: Colour = (255, 45, 60)
MISSED: Colour = (70, 130, 255)
EXTRA: Colour = (255, 150, 0)
IGNORED: Colour = (140, 140, 140)
_LINE: Colour = (255, 255, 255)


@dataclass(frozen=True)
class DrawnObject:
    """An object as it is painted. An empty `tag` writes nothing."""

    mask: NDArray[np.bool_]  # (H, W)
    colour: Colour
    tag: str = ""


def dim(picture: Picture, light: float = 0.62) -> Picture:
    """Half grey and darker, so that colours stand out."""
    grey = picture.astype(np.float32).mean(axis=2, keepdims=True)
    return np.asarray((0.5 * picture + 0.5 * grey) * light).astype(np.uint8)


def blend(picture: Picture, where: NDArray[np.bool_], colour: Colour, share: float) -> None:
    """Mix a colour into the pixels `where` `(H, W)` of `picture` itself; `share` 1 covers them."""
    picture[where] = ((1 - share) * picture[where] + share * np.array(colour)).astype(np.uint8)


def paint_classes(picture: Picture, ids: Picture, classes: Sequence[ClassInfo]) -> Picture:
    """Every pixel half in its class's colour, with white lines between classes; values that are no class are grey."""
    table = np.full((256, 3), IGNORED, dtype=np.uint8)
    for info in classes:
        table[info.id] = info.color
    painted = (0.5 * dim(picture, 0.8) + 0.5 * table[ids]).astype(np.uint8)
    blend(painted, _borders(ids), _LINE, 0.75)
    return painted


def paint_objects(dimmed: Picture, objects: Sequence[DrawnObject]) -> Picture:
    """Filled and outlined objects with their tags, large ones first so that small ones stay visible."""
    painted = dimmed.copy()
    ordered = sorted(objects, key=lambda drawn: -int(drawn.mask.sum()))
    for drawn in ordered:
        blend(painted, drawn.mask, drawn.colour, 0.55)
    for drawn in ordered:
        _outline(painted, drawn)
    return _with_tags(painted, [drawn for drawn in ordered if drawn.tag and drawn.mask.any()])


def line_width(shape: Sequence[int]) -> int:
    """Of a picture `(H, W, …)`, in pixels: thicker in large ones."""
    return max(1, round(min(shape[:2]) / 250))


def _borders(ids: Picture) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour is of another class, `(H, W)`: only borders inside the picture are lines."""
    borders = np.zeros(ids.shape, dtype=np.bool_)
    borders[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    borders[:-1] |= ids[:-1] != ids[1:]
    if line_width(ids.shape) == 1:
        return borders
    return np.asarray(cv2.dilate(borders.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0)


def _outline(picture: Picture, drawn: DrawnObject) -> None:
    """A line around the object and around its holes, in a lighter tone of its colour."""
    outlines, _ = cv2.findContours(drawn.mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    light = tuple(int(c + 0.55 * (255 - c)) for c in drawn.colour)
    cv2.drawContours(picture, outlines, -1, light, line_width(picture.shape), cv2.LINE_AA)


def _with_tags(picture: Picture, objects: Sequence[DrawnObject]) -> Picture:
    """Each tag above its object's upper left corner, moved inside the picture, on a dark ground."""
    if not objects:
        return picture
    height, width = picture.shape[:2]
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas, "RGBA")
    letters = font(float(np.clip(min(height, width) / 28, 8, 16)))
    for drawn in objects:
        upper, leftmost = (int(np.flatnonzero(drawn.mask.any(axis=axis))[0]) for axis in (1, 0))
        left, top, right, bottom = draw.textbbox((0, 0), drawn.tag, font=letters)
        x = min(leftmost, width - int(right - left) - 6)
        y = max(upper - int(bottom - top) - 5, 0)
        draw.rectangle((x, y, x + right - left + 5, y + bottom - top + 4), fill=(0, 0, 0, 150))
        draw.text((x + 3 - left, y + 2 - top), drawn.tag, font=letters, fill=(255, 255, 255, 255))
    return np.asarray(canvas)
