"""Truth over its photograph: classes in their colours, objects outlined, boxes as frames; or one class alone, the rest pale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import cv2

from segline.data.formats.base import SourceObject, SourceTruth
from segline.drawing.paint import IGNORED, Colour, DrawnObject, Picture, blend, faded, line_width, paint_classes, paint_objects, shade
from segline.drawing.scale import resized, resized_ids, resized_mask
from segline_runtime.specification import ClassInfo

_COVER = 0.6


def truth_picture(picture: Picture, truth: SourceTruth, classes: Sequence[ClassInfo], size: tuple[int, int]) -> Picture:
    """All that the truth says, at `size` (height, width); `picture` is the photograph at its own size."""
    painted = resized(picture, size)
    if truth.mask is not None:
        painted = paint_classes(painted, resized_ids(truth.mask, size), classes)
    return _with_objects(painted, truth.objects, classes, size, picture.shape[:2])


def class_picture(picture: Picture, truth: SourceTruth, info: ClassInfo, colour: Colour, size: tuple[int, int]) -> Picture:
    """Where one class is: in `colour` over a pale photograph, its objects outlined."""
    painted = faded(resized(picture, size))
    if truth.mask is not None:
        blend(painted, resized_ids(truth.mask, size) == info.id, colour, _COVER)
    own = [one for one in truth.objects if one.label == info.id]
    tinted = ClassInfo(info.id, info.name, colour, info.thing)
    return _with_objects(painted, own, {info.id: tinted}, size, picture.shape[:2])


def _with_objects(
    painted: Picture, objects: Sequence[SourceObject], classes: Sequence[ClassInfo] | dict[int, ClassInfo], size: tuple[int, int], own: tuple[int, ...]
) -> Picture:
    outlined, framed = [], []
    seen: Counter[int] = Counter()
    for one in objects:
        colour = IGNORED if one.crowd else shade(classes[one.label].color, seen[one.label])
        seen[one.label] += not one.crowd
        if one.mask is not None:
            outlined.append(DrawnObject(resized_mask(one.mask, size), colour))
        elif one.box is not None:
            framed.append((one.box, colour))
    painted = paint_objects(painted, outlined)
    for box, colour in framed:
        _frame(painted, box, colour, (size[0] / own[0], size[1] / own[1]))
    return painted


def _frame(picture: Picture, box: tuple[float, float, float, float], colour: Colour, scale: tuple[float, float]) -> None:
    """A box (xywh, in the photograph's own pixels) as a frame."""
    x, y, width, height = box
    corner = (round(x * scale[1]), round(y * scale[0]))
    opposite = (max(corner[0], round((x + width) * scale[1]) - 1), max(corner[1], round((y + height) * scale[0]) - 1))
    cv2.rectangle(picture, corner, opposite, colour, 1 + line_width(picture.shape))


def thumbnail_size(shape: Sequence[int], longer: int) -> tuple[int, int]:
    """(height, width) of a photograph `(H, W, …)` whose longer side becomes `longer` pixels."""
    factor = longer / max(shape[0], shape[1])
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))
