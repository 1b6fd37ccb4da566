"""Pictures of found objects: each in a shade of its class's colour with its name and score; found, missed and invented ones told apart.

Of predicted objects only the confident ones are drawn (see `segline.metrics.matching.CONFIDENT`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.store import Instances, Sample
from segline.drawing.fonts import brief
from segline.drawing.legend import Entry, with_legend
from segline.drawing.paint import EXTRA, IGNORED, MISSED, RIGHT, Colour, DrawnObject, Picture, faded, paint_objects, shade
from segline.drawing.scale import resized, resized_mask, size_alone
from segline.drawing.sheet import Panels
from segline.drawing.tags import tag_objects
from segline.drawing.view import view
from segline.metrics.matching import CONFIDENT, match
from segline.metrics.overlaps import mask_overlaps
from segline_runtime.predictions import InstancePrediction, Prediction
from segline_runtime.specification import ClassInfo


def overlay(image: NDArray[Any], prediction: Prediction, classes: Sequence[ClassInfo]) -> Picture:
    """The confident objects with name and score over the image `(H, W, C)`, a small one enlarged, with a legend below: the classes and their objects."""
    assert isinstance(prediction, InstancePrediction)
    size = size_alone(image.shape[0], image.shape[1])
    painted = _painted(resized(view(image), size), _predicted_objects(prediction, classes, size))
    numbers = Counter(prediction.labels[_confident(prediction)].tolist())
    legend = [(f"{number} × {classes[label].name}", classes[label].color) for label, number in numbers.most_common()]
    return with_legend(painted, legend, f"no object of score {CONFIDENT} or more")


def panels(sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], image: Picture) -> Panels:
    """Truth, prediction and error over `image`, which is the sample's as 8-bit RGB at the panels' size. Objects are matched at their own size."""
    assert isinstance(prediction, InstancePrediction) and sample.instances is not None
    size = (image.shape[0], image.shape[1])
    kinds = _kinds(sample.instances, prediction, size)
    return Panels(
        truth=_painted(image, _true_objects(sample.instances, classes, size)),
        prediction=_painted(image, _predicted_objects(prediction, classes, size)),
        error=paint_objects(faded(image), [DrawnObject(mask, kind.colour) for kind in kinds for mask in kind.masks]),
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
    found = match(truth, prediction, mask_overlaps(truth, prediction))
    crowds = np.flatnonzero(truth.crowd)
    return [
        _Kind("ignored", IGNORED, [resized_mask(truth.mask(t), size) for t in crowds.tolist()]),
        _Kind("found", RIGHT, [resized_mask(prediction.masks[p], size) for _, p in found.pairs]),
        _Kind("missed", MISSED, [resized_mask(truth.mask(t), size) for t in found.missed]),
        _Kind("found, but not there", EXTRA, [resized_mask(prediction.masks[p], size) for p in found.wrong]),
    ]


def _painted(picture: Picture, objects: Sequence[DrawnObject]) -> Picture:
    return tag_objects(paint_objects(picture, objects), objects)


def _true_objects(truth: Instances, classes: Sequence[ClassInfo], size: tuple[int, int]) -> list[DrawnObject]:
    objects = []
    seen: Counter[int] = Counter()
    for i, (label, crowd) in enumerate(zip(truth.labels.tolist(), truth.crowd.tolist(), strict=True)):
        info, mask = classes[label], resized_mask(truth.mask(i), size)
        objects.append(DrawnObject(mask, IGNORED, "crowd") if crowd else DrawnObject(mask, shade(info.color, seen[label]), brief(info.name)))
        seen[label] += not crowd
    return objects


def _predicted_objects(prediction: InstancePrediction, classes: Sequence[ClassInfo], size: tuple[int, int]) -> list[DrawnObject]:
    objects = []
    seen: Counter[int] = Counter()
    for i in _confident(prediction):
        label = int(prediction.labels[i])
        tag = f"{brief(classes[label].name)} {prediction.scores[i]:.2f}"
        objects.append(DrawnObject(resized_mask(prediction.masks[i], size), shade(classes[label].color, seen[label]), tag))
        seen[label] += 1
    return objects


def _legend(truth: Instances, prediction: InstancePrediction, classes: Sequence[ClassInfo]) -> list[Entry]:
    """The classes of the true objects, crowds left out, and of the confident ones."""
    present = np.union1d(truth.labels[~truth.crowd], prediction.labels[_confident(prediction)])
    return [(classes[i].name, classes[i].color) for i in present]


def _confident(prediction: InstancePrediction) -> NDArray[np.int64]:
    return np.flatnonzero(prediction.scores >= CONFIDENT)
