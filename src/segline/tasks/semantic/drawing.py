"""Pictures of semantic predictions: each pixel in its class's colour, wrong ones in red."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.store import IGNORE, Sample
from segline.drawing.legend import Entry, with_legend
from segline.drawing.paint import IGNORED, WRONG, Picture, blend, faded, paint_classes
from segline.drawing.scale import resized, resized_ids, size_alone
from segline.drawing.sheet import Panels
from segline.drawing.tags import tag_regions
from segline.drawing.view import view
from segline_runtime.predictions import Prediction, SemanticPrediction
from segline_runtime.specification import ClassInfo


def overlay(image: NDArray[Any], prediction: Prediction, classes: Sequence[ClassInfo]) -> Picture:
    """The predicted classes in their colours over the image `(H, W, C)`, a small one enlarged, with a legend below: the classes by falling share of it."""
    assert isinstance(prediction, SemanticPrediction)
    size = size_alone(image.shape[0], image.shape[1])
    painted = _painted(resized(view(image), size), resized_ids(prediction.class_ids, size), classes)
    shares = np.bincount(prediction.class_ids.ravel(), minlength=len(classes)) / prediction.class_ids.size
    present = sorted((info for info in classes if shares[info.id]), key=lambda info: -shares[info.id])
    return with_legend(painted, [(f"{_percent(shares[info.id])} {info.name}", info.color) for info in present], "")


def panels(sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], image: Picture) -> Panels:
    """Truth, prediction and error over `image`, which is the sample's as 8-bit RGB at the panels' size."""
    assert isinstance(prediction, SemanticPrediction) and sample.mask is not None
    size = (image.shape[0], image.shape[1])
    truth, predicted = resized_ids(sample.mask, size), resized_ids(prediction.class_ids, size)
    ignored = truth == IGNORE
    wrong = (truth != predicted) & ~ignored
    return Panels(
        truth=_painted(image, truth, classes),
        prediction=_painted(image, predicted, classes),
        error=_paint_errors(image, wrong, ignored),
        legend=[(classes[i].name, classes[i].color) for i in np.union1d(truth[~ignored], predicted)],
        marks=_marks(wrong, ignored),
    )


def _painted(picture: Picture, ids: Picture, classes: Sequence[ClassInfo]) -> Picture:
    return tag_regions(paint_classes(picture, ids, classes), ids, classes)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"


def _paint_errors(image: Picture, wrong: NDArray[np.bool_], ignored: NDArray[np.bool_]) -> Picture:
    painted = faded(image)
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
