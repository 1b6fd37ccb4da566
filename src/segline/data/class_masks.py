"""Objects as masks of classes that may overlap: the truth of multi-label segmentation. Legend: N objects, K classes, C classes of which an image has objects.

A pixel is of a class where one of its objects lies, and ignored for the class where a crowd of it lies and no such object. The background, where the data
has one, is what no object covers; what a crowd alone covers is ignored for it, too. All else is not of the class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.data.store import BACKDROP, IGNORE, Instances
from segline_runtime.specification import ClassInfo

Masks = NDArray[np.uint8]
"""Of classes: 1 of the class, 0 not, 255 = ignore."""


def background(classes: Sequence[ClassInfo]) -> int | None:
    """The class that is what no object covers: class 0 where it is a background, as data of objects alone has it; else None."""
    return 0 if classes and classes[0].color == BACKDROP and not classes[0].thing else None


def unions(objects: Instances, size: tuple[int, int]) -> tuple[NDArray[np.int64], Masks]:
    """The classes of which there are objects, crowds among them, `(C,)`, rising; and their masks `(C, H, W)` of `size`."""
    labels = np.unique(objects.labels)
    masks = np.zeros((len(labels), *size), dtype=np.uint8)
    for crowd, value in ((True, IGNORE), (False, 1)):  # an object comes before a crowd
        for i in np.flatnonzero(objects.crowd == crowd).tolist():
            masks[np.searchsorted(labels, objects.labels[i])][objects.mask(i)] = value
    return labels, masks


def class_masks(objects: Instances, size: tuple[int, int], classes: Sequence[ClassInfo]) -> Masks:
    """The truth `(K, H, W)` of an image of `size` (height, width)."""
    labels, masks = unions(objects, size)
    found = np.zeros((len(classes), *size), dtype=np.uint8)
    found[labels] = masks
    beneath = background(classes)
    if beneath is not None:
        found[beneath] = np.where((masks == 1).any(axis=0), 0, np.where((masks == IGNORE).any(axis=0), IGNORE, 1))
    return found
