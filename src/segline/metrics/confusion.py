"""The confusion matrix of one image: `(K, K)`, int64, in pixels; rows are the truth, columns the prediction. Matrices of several images add up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segline.data.store import IGNORE

Matrix = NDArray[np.int64]


def count(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int, ignore: int = IGNORE) -> Matrix:
    """Confusion matrix `(K, K)` of one image; `truth` and `predicted` are class ids `(H, W)`; pixels whose truth is `ignore` are left out.

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
