"""The best that a multi-label model's geometry lets it say: the truth, taken for the answer of a network that sees the image at another size.

Each class goes there and back by itself, as a network's logits do: what it is taught is the nearest pixel of the original's, and what it answers is enlarged
bilinearly. Where it is told to ignore what it sees, it may say what it likes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segline.data.class_masks import class_masks
from segline.data.store import Sample
from segline.tasks.semantic.ceiling import shrunk
from segline_runtime.geometry import network_size
from segline_runtime.multilabel import THRESHOLD, MultilabelPrediction
from segline_runtime.semantic import enlarged
from segline_runtime.specification import ClassInfo, Geometry


def ceiling(truth: Sample, geometries: Sequence[Geometry], classes: Sequence[ClassInfo]) -> MultilabelPrediction:
    """What the networks of these geometries would give back of an image's truth, all counting the same."""
    size = (truth.image.shape[0], truth.image.shape[1])
    masks = class_masks(truth, classes) == 1
    seen = [network_size(size, geometry) for geometry in geometries]
    if all(one == size for one in seen):
        return MultilabelPrediction(masks)
    found = np.zeros_like(masks)
    for label in np.flatnonzero(masks.any(axis=(1, 2))).tolist():
        votes = [enlarged(shrunk(masks[label].view(np.uint8), one)[None].astype(np.float32), size)[0] for one in seen]
        found[label] = np.mean(votes, axis=0) >= THRESHOLD
    return MultilabelPrediction(found)
