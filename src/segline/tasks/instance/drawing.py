"""Pictures of found objects: each in its class's colour with its score; found, missed and invented ones told apart.

Of predicted objects only the confident ones are drawn (see `segline.metrics.matching.CONFIDENT`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.store import Instances, Sample
from segline.drawing.paint import EXTRA, IGNORED, MISSED, RIGHT, Colour, DrawnObject, Picture, dim, paint_objects
from segline.drawing.scale import resized_mask
from segline.drawing.sheet import Entry, Panels
from segline.drawing.view import view
from segline.metrics.matching import CONFIDENT, match
from segline_runtime.predictions import InstancePrediction, Prediction
from segline_runtime.specification import ClassInfo


def overlay(image: NDArray[Any], prediction: Prediction, classes: Sequence[ClassInfo]) -> Picture:
    """The confident objects in their classes' colours, with name and score, over the dimmed image `(H, W, C)`, at its size."""
    assert isinstance(prediction, InstancePrediction)
    objects = []
    for i in _confident(prediction):
        info = classes[prediction.labels[i]]
        objects.append(DrawnObject(prediction.masks[i], info.color, f"{info.name} {prediction.scores[i]:.2f}"))
    return paint_objects(dim(view(image)), objects)


def panels(sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], image: Picture) -> Panels:
    """Truth, prediction and error over `image`, which is the sample's as 8-bit RGB at the panels' size. Objects are matched at their own size."""
    assert isinstance(prediction, InstancePrediction) and sample.instances is not None
    size = (image.shape[0], image.shape[1])
    dimmed = dim(image)
    kinds = _kinds(sample.instances, prediction, size)
    return Panels(
        truth=paint_objects(dimmed, _true_objects(sample.instances, classes, size)),
        prediction=paint_objects(dimmed, _predicted_objects(prediction, classes, size)),
        error=paint_objects(dimmed, [DrawnObject(mask, kind.colour) for kind in kinds for mask in kind.masks]),
        legend=_legend(sample.instances, prediction, classes),
        marks=[(kind.name, kind.colour) for kind in kinds if kind.masks],
    )


@dataclass(frozen=True)
class _Kind:
    """What became of some objects, and how the error panel shows it."""

    name: str
    colour: Colour
    masks: list[NDArray[np.bool_]]  # (h, w) each, at the panel's size


def _kinds(truth: Instances, prediction: InstancePrediction, size: tuple[int, int]) -> list[_Kind]:
    found = match(truth, prediction)
    crowds = np.flatnonzero(truth.crowd)
    return [
        _Kind("ignored", IGNORED, [resized_mask(truth.masks[t], size) for t in crowds]),
        _Kind("found", RIGHT, [resized_mask(prediction.masks[p], size) for _, p in found.pairs]),
        _Kind("missed", MISSED, [resized_mask(truth.masks[t], size) for t in found.missed]),
        _Kind("found, but not there", EXTRA, [resized_mask(prediction.masks[p], size) for p in found.wrong]),
    ]


def _true_objects(truth: Instances, classes: Sequence[ClassInfo], size: tuple[int, int]) -> list[DrawnObject]:
    objects = []
    for i, (label, crowd) in enumerate(zip(truth.labels, truth.crowd, strict=True)):
        objects.append(DrawnObject(resized_mask(truth.masks[i], size), IGNORED if crowd else classes[label].color))
    return objects


def _predicted_objects(prediction: InstancePrediction, classes: Sequence[ClassInfo], size: tuple[int, int]) -> list[DrawnObject]:
    objects = []
    for i in _confident(prediction):
        colour = classes[prediction.labels[i]].color
        objects.append(DrawnObject(resized_mask(prediction.masks[i], size), colour, f"{prediction.scores[i]:.2f}"))
    return objects


def _legend(truth: Instances, prediction: InstancePrediction, classes: Sequence[ClassInfo]) -> list[Entry]:
    """The classes of the true objects, crowds left out, and of the confident ones."""
    present = np.union1d(truth.labels[~truth.crowd], prediction.labels[_confident(prediction)])
    return [(classes[i].name, classes[i].color) for i in present]


def _confident(prediction: InstancePrediction) -> NDArray[np.int64]:
    return np.flatnonzero(prediction.scores >= CONFIDENT)
