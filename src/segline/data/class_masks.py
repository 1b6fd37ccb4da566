"""Masks of classes that may overlap: the truth of multi-label segmentation. Legend: N objects, K classes, C classes of which an image has objects.

A pixel is of a class where one of its objects lies, and ignored for the class where a crowd of it lies and no such object. What has no objects (road, sky) is
where the index mask shows it. The background, where the data has one, is what nothing covers; what a crowd alone covers is ignored for it, too. All else is
not of the class. Where the index mask says ignore and no crowd is the reason, a pixel is ignored for all classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from segline.data.store import BACKDROP, IGNORE, DatasetInfo, Instances, PreparedDataset, Sample
from segline_runtime.specification import ClassInfo

Masks = NDArray[np.uint8]
"""Of classes: 1 of the class, 0 not, 255 = ignore."""


def background(classes: Sequence[ClassInfo]) -> int | None:
    """The class that is what no object covers: class 0 where it is a background, as data of objects alone has it; else None."""
    return 0 if classes and classes[0].color == BACKDROP and not classes[0].thing else None


def stuff(classes: Sequence[ClassInfo]) -> list[int]:
    """The classes that have no objects and are no background."""
    return [info.id for info in classes if not info.thing and info.id != background(classes)]


def unions(objects: Instances, size: tuple[int, int]) -> tuple[NDArray[np.int64], Masks]:
    """The classes of which there are objects, crowds among them, `(C,)`, rising; and their masks `(C, H, W)` of `size`."""
    labels = np.unique(objects.labels)
    masks = np.zeros((len(labels), *size), dtype=np.uint8)
    for crowd, value in ((True, IGNORE), (False, 1)):  # an object comes before a crowd
        for i in np.flatnonzero(objects.crowd == crowd).tolist():
            masks[np.searchsorted(labels, objects.labels[i])][objects.mask(i)] = value
    return labels, masks


def class_masks(sample: Sample, classes: Sequence[ClassInfo]) -> Masks:
    """The truth `(K, H, W)` of a sample with its objects and its index mask."""
    assert sample.instances is not None and sample.mask is not None
    size = (sample.mask.shape[0], sample.mask.shape[1])
    labels, masks = unions(sample.instances, size)
    found = np.zeros((len(classes), *size), dtype=np.uint8)
    found[labels] = masks
    for label in stuff(classes):
        found[label][sample.mask == label] = 1
    crowd = (masks == IGNORE).any(axis=0)
    beneath = background(classes)
    if beneath is not None:
        found[beneath] = np.where((found == 1).any(axis=0), 0, np.where(crowd, IGNORE, 1))
    found[:, (sample.mask == IGNORE) & ~crowd] = IGNORE
    return found


def with_label_pixels(dataset: PreparedDataset) -> DatasetInfo:
    """The description of a data set whose pixels of each class are those of its objects, overlapped or not, in the training images."""
    info = dataset.info
    things = np.array([one.thing for one in info.classes])
    pixels = np.where(things, 0, info.class_pixels)
    image_pixels = np.where(things, 0, info.class_image_pixels)
    split = dataset.split("train", ["instances"])
    for index, (height, width) in enumerate(split.sizes()):
        objects = split.objects(index)
        codes, counted = objects.rles(), things[objects.labels] & ~objects.crowd
        for label in np.unique(objects.labels[counted]).tolist():
            own = [codes[i] for i in np.flatnonzero((objects.labels == label) & counted).tolist()]
            pixels[label] += int(rle.area(own[0] if len(own) == 1 else rle.merge(own)))
            image_pixels[label] += height * width
    return replace(info, class_pixels=tuple(pixels.tolist()), class_image_pixels=tuple(image_pixels.tolist()))
