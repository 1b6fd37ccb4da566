"""Instance segmentation: each object with its class, score, box and mask."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from segline_runtime.geometry import Window
from segline_runtime.images import to_png
from segline_runtime.masks import extent
from segline_runtime.specification import Specification, Tile
from segline_runtime.task import Prediction, RuntimeTask

MASK_THRESHOLD = 0.5
_PADDING = 1  # a rim of zeros around each mask before it is enlarged, so that edges fall off

SAME = 0.5
"""Overlap from which on two windows speak of one object."""

_NEAR_EDGE = 2  # pixels: a mask that a network draws up to a cut may end a little before it


@dataclass(frozen=True)
class InstancePrediction(Prediction):
    """Objects, by falling score."""

    task: ClassVar[str] = "instance"
    scores: NDArray[np.float32]  # (N,)
    labels: NDArray[np.int64]  # (N,) class ids
    boxes: NDArray[np.float32]  # (N, 4) xyxy, pixels
    masks: NDArray[np.bool_]  # (N, H, W)


class Instance(RuntimeTask[InstancePrediction]):
    """Outputs, for one image: `boxes` float32 `(N, 4)` xyxy in pixels, `labels` int64 `(N,)`, `scores` float32 `(N,)`, `masks` float32 `(N, M, M)` per box."""

    name = "instance"

    def decode(self, outputs: Mapping[str, NDArray[Any]], size: tuple[int, int]) -> list[InstancePrediction]:
        order = np.argsort(-outputs["scores"], kind="stable")
        boxes = clip_boxes(outputs["boxes"][order], size)
        masks = paste_masks(outputs["masks"][order], boxes, size)
        return [InstancePrediction(scores=outputs["scores"][order], labels=outputs["labels"][order], boxes=boxes, masks=masks)]

    def join(
        self,
        windows: Sequence[Window],
        predictions: Iterable[InstancePrediction],
        size: tuple[int, int],
        tile: Tile,  # noqa: ARG002
        *,
        probabilities: bool = False,  # noqa: ARG002
    ) -> InstancePrediction:
        """Detections of one class that agree where two windows see the same pixels become one object, over as many windows as it crosses.

        Score the highest, box and mask the union. Two agree when there, of what both call the object, the IoU is at least `SAME`; or, for a detection
        that its window cuts (a network draws those poorly), when the intersection is at least that share of the smaller one.
        The best agreements are taken first, and never make one object of two detections of one window that overlap: that window saw two.
        A detection that agrees with no other stays as it is. Where windows share no pixels, nothing can agree.
        """
        fragments: list[_Fragment] = []
        for number, (window, prediction) in enumerate(zip(windows, predictions, strict=True)):
            fragments += _fragments(number, window, prediction, size)
        objects = sorted(_grouped(fragments, windows), key=lambda group: -max(fragment.score for fragment in group))
        masks = np.zeros((len(objects), *size), dtype=np.bool_)
        boxes = np.zeros((len(objects), 4), dtype=np.float32)
        for group, mask, box in zip(objects, masks, boxes, strict=True):
            corners = np.stack([fragment.box for fragment in group])
            box[:2], box[2:] = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
            for fragment in group:
                top, left, bottom, right = fragment.extent
                mask[top:bottom, left:right] |= fragment.mask
        scores = np.array([max(fragment.score for fragment in group) for group in objects], dtype=np.float32)
        labels = np.array([group[0].label for group in objects], dtype=np.int64)
        return InstancePrediction(scores=scores, labels=labels, boxes=boxes, masks=masks)

    def answer(self, prediction: InstancePrediction, specification: Specification) -> dict[str, Any]:
        """`task`, `size` [height, width] and `objects`: `label`, `class`, `score`, `box` [x1, y1, x2, y2], `mask` (base64 PNG, 255 inside the object)."""
        names = {c.id: c.name for c in specification.classes}
        found = zip(prediction.labels, prediction.scores, prediction.boxes, prediction.masks, strict=True)
        objects = [
            {
                "label": int(label),
                "class": names[int(label)],
                "score": float(score),
                "box": [float(v) for v in box],
                "mask": to_png(mask.astype(np.uint8) * 255),
            }
            for label, score, box, mask in found
        ]
        return {"task": prediction.task, "size": list(prediction.masks.shape[1:]), "objects": objects}


TASK = Instance()


def clip_boxes(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Boxes `(N, 4)` xyxy brought inside an image of `size` (height, width)."""
    height, width = size
    return np.clip(boxes, 0, np.array([width, height, width, height], dtype=np.float32)).astype(np.float32)


def paste_masks(masks: NDArray[np.float32], boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask probabilities `(N, M, M)` of boxes `(N, 4)` xyxy as masks `(N, H, W)` of the image.

    True below the pixel: pixel (x, y) has its centre at (x + 0.5, y + 0.5); one whose centre lies in the box has the value that the probabilities,
    each at the centre of its cell of the box, have there bilinearly, and 0 around the box. Above 0.5 it belongs to the object.
    """
    pasted = np.zeros((len(masks), *size), dtype=np.bool_)
    padded = np.pad(masks, ((0, 0), (_PADDING, _PADDING), (_PADDING, _PADDING)))
    for target, mask, (x0, y0, x1, y1) in zip(pasted, padded, boxes.astype(np.float64).tolist(), strict=True):
        rows, columns = _centres(y0, y1, size[0]), _centres(x0, x1, size[1])
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        above, down = _cells(rows, y0, y1, masks.shape[1])
        left, across = _cells(columns, x0, x1, masks.shape[2])
        lines = mask[above] * (1 - down)[:, None] + mask[above + 1] * down[:, None]
        target[rows, columns] = lines[:, left] * (1 - across) + lines[:, left + 1] * across > MASK_THRESHOLD
    return pasted


def _centres(start: float, stop: float, length: int) -> slice:
    """The pixels of a line of `length` whose centres lie between two coordinates."""
    return slice(max(math.ceil(start - 0.5), 0), min(math.floor(stop - 0.5) + 1, length))


def _cells(pixels: slice, start: float, stop: float, side: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For pixels of a line that is `side` cells from `start` to `stop`: the cell before each, counted with the padding, and the weight of the next one."""
    position = (np.arange(pixels.start, pixels.stop) + 0.5 - start) / (stop - start) * side - 0.5 + _PADDING
    before = np.clip(position.astype(np.int64), 0, side)
    return before, (position - before).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Fragment:
    """What one window says of one object, in pixels of the image."""

    window: int  # its number
    label: int
    score: float
    box: NDArray[np.float32]  # (4,) xyxy
    extent: Window  # of the mask's pixels; empty where it has none
    mask: NDArray[np.bool_]  # of the extent
    cut: bool  # reaches an edge at which the window, and not the image, ends


def _fragments(number: int, window: Window, prediction: InstancePrediction, size: tuple[int, int]) -> list[_Fragment]:
    top, left, bottom, right = window
    offset = np.array([left, top, left, top], dtype=np.float32)
    # The lines that a mask must reach to be cut; at the image's own border there is none.
    first_row, first_column = (top + _NEAR_EDGE if top > 0 else -1), (left + _NEAR_EDGE if left > 0 else -1)
    last_row = bottom - _NEAR_EDGE if bottom < size[0] else size[0] + 1
    last_column = right - _NEAR_EDGE if right < size[1] else size[1] + 1
    fragments = []
    for score, label, box, mask in zip(prediction.scores, prediction.labels, prediction.boxes, prediction.masks, strict=True):
        rows, columns = extent(mask)
        within = (top + rows.start, left + columns.start, top + rows.stop, left + columns.stop)
        cut = within[0] <= first_row or within[1] <= first_column or within[2] >= last_row or within[3] >= last_column
        fragments.append(_Fragment(number, int(label), float(score), box + offset, within, mask[rows, columns].copy(), cut))
    return fragments


def _grouped(fragments: Sequence[_Fragment], windows: Sequence[Window]) -> list[list[_Fragment]]:
    """The fragments of each object; the best agreements are joined first."""
    groups = {i: [i] for i in range(len(fragments))}
    group_of = list(range(len(fragments)))
    for _, _, i, j in sorted(_agreements(fragments, windows)):
        kept, joined = sorted((group_of[i], group_of[j]))
        if kept == joined or _told_apart([fragments[k] for k in groups[kept]], [fragments[k] for k in groups[joined]]):
            continue
        for k in groups[joined]:
            group_of[k] = kept
        groups[kept] += groups.pop(joined)
    return [[fragments[i] for i in group] for group in groups.values()]


def _agreements(fragments: Sequence[_Fragment], windows: Sequence[Window]) -> list[tuple[float, int, int, int]]:
    """(−IoU, −pixels in common, i, j) of the pairs i < j that speak of one object."""
    extents = np.array([fragment.extent for fragment in fragments], dtype=np.int64).reshape(-1, 4)
    labels = np.array([fragment.label for fragment in fragments])
    numbers = np.array([fragment.window for fragment in fragments])
    found = []
    for i, fragment in enumerate(fragments):
        later = slice(i + 1, None)
        near = (labels[later] == fragment.label) & (numbers[later] != fragment.window)
        near &= (np.maximum(extents[later, :2], extents[i, :2]) < np.minimum(extents[later, 2:], extents[i, 2:])).all(axis=1)
        for j in (np.flatnonzero(near) + i + 1).tolist():
            other = fragments[j]
            both = _common(fragment, other)
            if not both:
                continue
            shared = _intersection(windows[fragment.window], windows[other.window])
            areas = [int(np.count_nonzero(_within(some, shared))) for some in (fragment, other)]
            iou, share = both / (sum(areas) - both), both / min(areas)
            if iou >= SAME or ((fragment.cut or other.cut) and share >= SAME):
                found.append((-iou, -both, i, j))
    return found


def _told_apart(first: Sequence[_Fragment], second: Sequence[_Fragment]) -> bool:
    """Whether some window has a fragment of each that share pixels: there it saw two objects, not two ends of one."""
    for a in first:
        for b in second:
            if a.window == b.window and _common(a, b):
                return True
    return False


def _intersection(first: Window, second: Window) -> Window:
    """The window that two windows share; where they share none, one without pixels."""
    top, left = max(first[0], second[0]), max(first[1], second[1])
    return top, left, max(top, min(first[2], second[2])), max(left, min(first[3], second[3]))


def _within(fragment: _Fragment, region: Window) -> NDArray[np.bool_]:
    """The part of a fragment's mask that lies in a region of the image."""
    top, left, bottom, right = _intersection(region, fragment.extent)
    y, x = fragment.extent[:2]
    return fragment.mask[top - y : bottom - y, left - x : right - x]


def _common(first: _Fragment, second: _Fragment) -> int:
    """Pixels that two fragments share; those of two windows lie where both windows see."""
    region = _intersection(first.extent, second.extent)
    if region[0] == region[2] or region[1] == region[3]:
        return 0
    return int(np.count_nonzero(_within(first, region) & _within(second, region)))
