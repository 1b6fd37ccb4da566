"""A confusion matrix as a picture that can be read: of many classes it shows those that are confused most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.drawing.canvas import INK, canvas, colours, panel, save
from segline.drawing.fonts import brief

_MOST = 30  # classes with a row and a column of their own
_LONGEST_NAME = 22
_INCHES = 0.42  # of a cell, with room for its figure

Matrix = NDArray[np.int64]


def confusion_picture(matrix: Matrix, names: Sequence[str], file: Path) -> None:
    """Confusion matrix `(K, K)`, each row in percent of its class's true pixels.

    Of more than 30 classes those 30 that most wrong pixels belong to are shown, in the order of their ids, and the others are put together in a last row
    and column; where these two meet there is no figure, as right ones and those that the others are confused by cannot be told apart there.
    """
    shown = _most_confused(matrix)
    title = "Confusion matrix: share of each class's true pixels"
    together = len(shown) < len(names)
    if together:
        title += f"\nThe {len(shown)} of {len(names)} classes with the most wrong pixels; confusion_matrix.csv has all"
        others = [i for i in range(len(names)) if i not in shown]
        matrix = _put_together(matrix, shown, others)
        names = [*(names[i] for i in shown), f"{len(others)} other classes"]
    count = len(names)
    shares = _shares_of_rows(matrix)
    if together:
        shares[-1, -1] = np.nan  # an empty cell
    side = max(2.6 + _INCHES * count, 5.2)
    figure = canvas(side + 0.9, side)
    axes = panel(figure)
    cells = axes.imshow(shares, cmap=colours("Blues"), vmin=0, vmax=1)
    _label(axes, names, title)
    _separate(axes, count)
    _write_figures(axes, shares)
    bar = figure.colorbar(cells, ax=axes, fraction=0.045, pad=0.02, format=lambda value, _: f"{100 * value:.0f} %")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=9)
    save(figure, file)


def _most_confused(matrix: Matrix) -> list[int]:
    """Classes by id: all, or of more than _MOST those with the most pixels that were missed or wrongly claimed."""
    if len(matrix) <= _MOST:
        return list(range(len(matrix)))
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * matrix.diagonal()
    return sorted(np.argsort(-wrong, kind="stable")[:_MOST].tolist())


def _put_together(matrix: Matrix, shown: Sequence[int], others: Sequence[int]) -> Matrix:
    """The rows and columns of `shown`, and then one of each for all `others`; what these confuse among themselves is not told apart."""
    groups = np.zeros((len(matrix), len(shown) + 1), dtype=np.int64)
    groups[shown, np.arange(len(shown))] = 1
    groups[others, -1] = 1
    return np.asarray(groups.T @ matrix @ groups)


def _shares_of_rows(matrix: Matrix) -> NDArray[np.float64]:
    """0…1 `(K, K)`; NaN in the rows of classes without true pixels."""
    rows = matrix.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(matrix, rows, out=np.full(matrix.shape, np.nan), where=rows > 0))


def _label(axes: Any, names: Sequence[str], title: str) -> None:
    labels = [brief(name, _LONGEST_NAME) for name in names]
    places = range(len(names))
    upright = len(names) > 6
    axes.set_xticks(places, labels, rotation=90 if upright else 30, ha="center" if upright else "right", fontsize=9.5)
    axes.set_yticks(places, labels, fontsize=9.5)
    axes.set_xlabel("predicted class", color=INK)
    axes.set_ylabel("true class", color=INK)
    axes.set_title(title, color=INK, fontsize=11, pad=12)


def _separate(axes: Any, count: int) -> None:
    """White lines between the cells."""
    between = np.arange(count + 1) - 0.5
    axes.set_xticks(between, minor=True)
    axes.set_yticks(between, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _write_figures(axes: Any, shares: NDArray[np.float64]) -> None:
    """Percent in the cells; in a large matrix whole ones, and nothing where less than half a percent is, so that what is confused stands out."""
    large = len(shares) > 12
    for i, j in np.ndindex(*shares.shape):
        share = shares[i, j]
        if not np.isnan(share) and not (large and share < 0.005):
            text = f"{100 * share:.{0 if large else 1}f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=9, color="white" if share > 0.55 else INK)
