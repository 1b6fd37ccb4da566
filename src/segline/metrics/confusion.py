"""Semantic metrics as pure counts, then pure scores: image and truth → confusion matrix; pooled confusion matrix → figures.

A confusion matrix is `(C, C)`, int64, in pixels: rows are the truth, columns the prediction. Matrices of several images add up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from segline.data.store import IGNORE

Matrix = NDArray[np.int64]
Scores = NDArray[np.float64]


def empty(classes: int) -> Matrix:
    """The matrix that has counted nothing."""
    return np.zeros((classes, classes), dtype=np.int64)


def count(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int, ignore: int = IGNORE) -> Matrix:
    """Confusion matrix `(C, C)` of one image; `truth` and `predicted` are class ids `(H, W)`; pixels whose truth is `ignore` are left out.

    Raises ValueError for maps of different sizes and for values that are no class.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth is {truth.shape} and prediction {predicted.shape}; they must have the same size")
    if predicted.size and predicted.max() >= classes:
        raise ValueError(f"the prediction holds the value {predicted.max()}, and the classes are 0…{classes - 1}")
    # A table look-up gives each truth value the start of its row; ignored and unknown values get rows of their own at the end.
    row_starts = np.full(256, classes + 1, dtype=np.int64)
    row_starts[:classes] = np.arange(classes)
    row_starts[ignore] = classes
    cells = (row_starts * classes)[truth] + predicted
    counts = np.bincount(cells.ravel(), minlength=(classes + 2) * classes).reshape(classes + 2, classes)
    if counts[-1].any():
        unknown = sorted(set(np.unique(truth).tolist()) - {*range(classes), ignore})
        raise ValueError(f"the truth holds the values {unknown}, and the classes are 0…{classes - 1}")
    return counts[:classes]


def iou(matrix: Matrix) -> Scores:
    """IoU `(C,)` = TP / (TP + FP + FN); NaN for a class that takes no part.

    The rule for absent classes, here and in every mean of this module:
    a class absent from truth and prediction over the whole split has no score (NaN; left out of metrics.json) and takes no part in a mean,
    its support is shown as 0; a class absent from the truth but predicted has IoU 0 and Dice 0, and these count in the mean.
    """
    tp, truth, predicted = _sums(matrix)
    return _divide(tp, truth + predicted - tp)


def dice(matrix: Matrix) -> Scores:
    """Dice `(C,)` = 2 TP / (2 TP + FP + FN); absent classes as in `iou`."""
    tp, truth, predicted = _sums(matrix)
    return _divide(2 * tp, truth + predicted)


def class_accuracy(matrix: Matrix) -> Scores:
    """Share of each class's true pixels that were found `(C,)`; NaN for a class without true pixels, predicted or not."""
    tp, truth, _ = _sums(matrix)
    return _divide(tp, truth)


def support(matrix: Matrix) -> Matrix:
    """True pixels of each class `(C,)`."""
    return np.asarray(matrix.sum(axis=1))


def pixel_accuracy(matrix: Matrix) -> float:
    """Share of all scored pixels that are right; NaN when there is none."""
    return float(_divide(np.trace(matrix), matrix.sum()))


def frequency_weighted_iou(matrix: Matrix) -> float:
    """Mean of the classes' IoU, weighted by their share of the true pixels; NaN when no pixel is scored."""
    return float(_divide(np.nansum(iou(matrix) * support(matrix)), matrix.sum()))


def mean(scores: Scores) -> float:
    """Mean over the classes that take part; NaN when none does."""
    taking_part = scores[~np.isnan(scores)]
    return float(taking_part.mean()) if taking_part.size else float("nan")


def _sums(matrix: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    return matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)


def _divide(above: ArrayLike, below: ArrayLike) -> Scores:
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    return np.asarray(np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0))
