"""Pictures of multi-label predictions: each class a film of its colour with an outline. Where films overlap their colours mix, and all outlines show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.class_masks import class_masks
from segline.data.store import BACKDROP, IGNORE, Sample
from segline.drawing.fonts import brief
from segline.drawing.legend import Entry, with_legend
from segline.drawing.paint import EXTRA, IGNORED, MISSED, RIGHT, WRONG, Colour, DrawnObject, Picture, blend, faded, paint_objects
from segline.drawing.scale import resized, resized_ids, resized_mask, size_alone
from segline.drawing.sheet import Panels
from segline.drawing.tags import tag_objects
from segline.drawing.view import view
from segline_runtime.predictions import MultilabelPrediction, Prediction
from segline_runtime.specification import ClassInfo


def overlay(image: NDArray[Any], prediction: Prediction, classes: Sequence[ClassInfo]) -> Picture:
    """The predicted classes over the image `(H, W, C)`, a small one enlarged, with a legend below: the classes by falling share of it, which may add up to more
    than all of it.
    """
    assert isinstance(prediction, MultilabelPrediction)
    size = size_alone(image.shape[0], image.shape[1])
    painted = _painted(resized(view(image), size), prediction.masks, classes)
    shares = prediction.masks.mean(axis=(1, 2))
    present = sorted((info for info in classes if shares[info.id]), key=lambda info: -shares[info.id])
    return with_legend(painted, [(f"{_percent(shares[info.id])} {info.name}", info.color) for info in present], "nothing found")


def panels(sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], image: Picture) -> Panels:
    """Truth, prediction and error over `image`, which is the sample's as 8-bit RGB at the panels' size.

    A pixel's error is told once for all classes but the background, which is wrong where another class is.
    """
    assert isinstance(prediction, MultilabelPrediction)
    size = (image.shape[0], image.shape[1])
    truth = class_masks(sample, classes)
    shown = [info for info in classes if info.color != BACKDROP]
    true = np.stack([resized_ids(truth[info.id], size) for info in shown]) if shown else np.zeros((0, *size), dtype=np.uint8)
    found = np.stack([resized_ids(prediction.masks[info.id].view(np.uint8), size) for info in shown]).astype(np.bool_) if shown else true.astype(np.bool_)
    present = [info for info in classes if (truth[info.id] == 1).any() or prediction.masks[info.id].any()]
    error, marks = _errors(image, true, found)
    return Panels(
        truth=_painted(image, truth == 1, classes),
        prediction=_painted(image, prediction.masks, classes),
        error=error,
        legend=[(info.name, info.color) for info in present],
        marks=marks,
    )


def _painted(picture: Picture, masks: NDArray[np.bool_], classes: Sequence[ClassInfo]) -> Picture:
    """masks `(K, H, W)`, of any size; the background is left as it is."""
    size = (picture.shape[0], picture.shape[1])
    drawn = [
        DrawnObject(resized_mask(mask, size), info.color, brief(info.name))
        for info, mask in zip(classes, masks, strict=True)
        if info.color != BACKDROP and mask.any()
    ]
    drawn.sort(key=lambda one: int(np.count_nonzero(one.mask)))  # names of small ones are written first, as large ones have more places for theirs
    return tag_objects(paint_objects(picture, drawn), drawn)


def _errors(image: Picture, true: NDArray[np.uint8], found: NDArray[np.bool_]) -> tuple[Picture, list[Entry]]:
    """The error panel of masks `(k, h, w)`, and what its colours mean. What is ignored for a class is no error of it."""
    missed = ((true == 1) & ~found).any(axis=0)
    extra = ((true == 0) & found).any(axis=0)
    right = ((true == 1) & found).any(axis=0) & ~missed & ~extra
    ignored = (true == IGNORE).any(axis=0) & ~missed & ~extra & ~right
    kinds: list[tuple[str, Colour, NDArray[np.bool_]]] = [
        ("ignored", IGNORED, ignored),
        ("found", RIGHT, right),
        ("a class is missed", MISSED, missed & ~extra),
        ("a class that is not there", EXTRA, extra & ~missed),
        ("one for another", WRONG, missed & extra),
    ]
    painted = faded(image)
    for _, colour, where in kinds:
        blend(painted, where, colour, 0.6)
    return painted, [(name, colour) for name, colour, where in kinds if where.any()]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"
