"""Pictures of semantic predictions: each pixel in its class's colour, wrong ones in red."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.store import IGNORE, Sample
from segline.drawing.paint import IGNORED, WRONG, Picture, blend, dim, paint_classes
from segline.drawing.scale import resized_ids
from segline.drawing.sheet import Entry, Panels
from segline.drawing.view import view
from segline_runtime.predictions import Prediction, SemanticPrediction
from segline_runtime.specification import ClassInfo


def overlay(image: NDArray[Any], prediction: Prediction, classes: Sequence[ClassInfo]) -> Picture:
    """The predicted classes in their colours over the dimmed image `(H, W, C)`, at its size."""
    assert isinstance(prediction, SemanticPrediction)
    return paint_classes(view(image), prediction.class_ids, classes)


def panels(sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], image: Picture) -> Panels:
    """Truth, prediction and error over `image`, which is the sample's as 8-bit RGB at the panels' size."""
    assert isinstance(prediction, SemanticPrediction) and sample.mask is not None
    size = (image.shape[0], image.shape[1])
    truth, predicted = resized_ids(sample.mask, size), resized_ids(prediction.class_ids, size)
    ignored = truth == IGNORE
    wrong = (truth != predicted) & ~ignored
    return Panels(
        truth=paint_classes(image, truth, classes),
        prediction=paint_classes(image, predicted, classes),
        error=_paint_errors(image, wrong, ignored),
        legend=[(classes[i].name, classes[i].color) for i in np.union1d(truth[~ignored], predicted)],
        marks=_marks(wrong, ignored),
    )


def _paint_errors(image: Picture, wrong: NDArray[np.bool_], ignored: NDArray[np.bool_]) -> Picture:
    painted = dim(image)
    blend(painted, ignored, IGNORED, 0.6)
    blend(painted, wrong, WRONG, 0.75)
    return painted


def _marks(wrong: NDArray[np.bool_], ignored: NDArray[np.bool_]) -> list[Entry]:
    """The colours of the error panel that are to be seen in it."""
    marks: list[Entry] = []
    if wrong.any():
        marks.append(("wrong", WRONG))
    if ignored.any():
        marks.append(("ignored", IGNORED))
    return marks
