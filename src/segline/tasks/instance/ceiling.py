"""The best that an instance model's way lets it say: the truth, taken for the answer of a perfect network.

Of detectors that is: true boxes, and of each true mask, at the size at which the network sees the image, the small grid that its mask head is taught,
pasted into the image as predictions are. Of a model whose objects are connected components: what becomes of the true objects when they are painted as
classes, resized there and back, and cut into components.

Legend: h × w pixels of a mask, S cells of a grid's side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.data.store import IGNORE, Instances, Sample
from segline.tasks.semantic.ceiling import shrunk, there_and_back
from segline_runtime import components
from segline_runtime.geometry import network_size
from segline_runtime.instance import InstancePrediction, paste_masks
from segline_runtime.semantic import SemanticPrediction
from segline_runtime.specification import Geometry, Specification

GRID = 28
"""Cells of a side of what the mask head of Mask R-CNN answers (He 2017), which no setting changes."""


def ceiling(truth: Sample, geometries: Sequence[Geometry], specification: Specification) -> InstancePrediction:
    """The objects that are to be found, crowds left out, as the model could give them at best; each with the score 1."""
    assert truth.instances is not None
    objects, size = truth.instances, (truth.image.shape[0], truth.image.shape[1])
    if specification.components is not None:
        return _components(objects, size, geometries, specification)
    kept = np.flatnonzero(~objects.crowd)
    grids = np.zeros((len(kept), GRID, GRID), dtype=np.float32)
    for geometry in geometries:  # detections that are fused have the mean of their masks
        seen = network_size(size, geometry)
        ratio = np.array([seen[1] / size[1], seen[0] / size[0]] * 2)
        for grid, i in zip(grids, kept.tolist(), strict=True):
            grid += mask_target(shrunk(objects.mask(i).view(np.uint8), seen), objects.boxes[i] * ratio, GRID) / len(geometries)
    boxes = objects.boxes[kept]
    return InstancePrediction(np.ones(len(kept), dtype=np.float32), objects.labels[kept], boxes, paste_masks(grids, boxes, size))


def mask_target(mask: NDArray[np.uint8], box: NDArray[np.floating], side: int) -> NDArray[np.float32]:
    """The share of a mask `(h, w)` in each cell of a grid `(S, S)` over a box xyxy: `segline.models.maskrcnn.masks.mask_targets` of one object, without torch.

    Bilinear values at points that stand evenly in a cell, as many in a row as the cell is pixels wide, rounded up; their mean is a product of matrices.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    rows, columns = _weights(y0, y1, mask.shape[0], side), _weights(x0, x1, mask.shape[1], side)
    return np.asarray(rows @ mask.astype(np.float32) @ columns.T, dtype=np.float32)


def _weights(start: float, stop: float, length: int, side: int) -> NDArray[np.float32]:
    """How much each pixel of a line of `length` counts in each cell from `start` to `stop` `(S, length)`; RoIAlign's rules at the ends of the line."""
    cell = (stop - start) / side
    points = max(1, int(np.ceil(cell)))
    at = start + (np.arange(side)[:, None] + (np.arange(points) + 0.5) / points) * cell - 0.5  # in pixels whose centres are whole numbers
    outside = (at < -1) | (at > length)
    at = np.clip(at, 0, length - 1)
    before = np.minimum(at.astype(np.int64), max(length - 2, 0))
    after = np.minimum(before + 1, length - 1)
    share = np.where(outside, 0, 1 / points)
    weights = np.zeros((side, length))
    cells = np.broadcast_to(np.arange(side)[:, None], at.shape)
    np.add.at(weights, (cells, before), share * (1 - (at - before)))
    np.add.at(weights, (cells, after), share * (at - before))
    return weights.astype(np.float32)


def _components(objects: Instances, size: tuple[int, int], geometries: Sequence[Geometry], specification: Specification) -> InstancePrediction:
    stuff = [info.id for info in specification.classes if not info.thing]
    painted = np.full(size, stuff[0] if stuff else IGNORE, dtype=np.uint8)
    for i in np.argsort(-objects.areas, kind="stable").tolist():  # small ones lie on large ones
        painted[objects.mask(i)] = IGNORE if objects.crowd[i] else objects.labels[i]
    ids = there_and_back(painted, geometries)
    sure = np.zeros((len(specification.classes), *size), dtype=np.float32)
    np.put_along_axis(sure, ids[None].astype(np.int64), 1.0, axis=0)
    return components.objects(SemanticPrediction(ids, sure), specification)
