"""A confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.drawing.canvas import INK, canvas, colours, panel, save

_MOST_WITH_FIGURES = 24  # classes; the cells of more are too small for text
_LONGEST_NAME = 22


def confusion_picture(matrix: NDArray[np.int64], names: Sequence[str], file: Path) -> None:
    """Confusion matrix `(K, K)`, each row in percent of its class's true pixels; figures in the cells up to 24 classes."""
    count = len(names)
    shares = _shares_of_rows(matrix)
    side = float(np.clip(2.6 + 0.52 * count, 5.2, 17))
    letters = float(np.clip(10.5 - 0.11 * count, 5.5, 10))
    figure = canvas(side + 0.9, side)
    axes = panel(figure)
    cells = axes.imshow(shares, cmap=colours("Blues"), vmin=0, vmax=1)
    _label(axes, names, letters)
    _separate(axes, count)
    if count <= _MOST_WITH_FIGURES:
        _write_figures(axes, shares, letters - 0.5)
    bar = figure.colorbar(cells, ax=axes, fraction=0.045, pad=0.02, format=lambda value, _: f"{100 * value:.0f} %")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=9)
    save(figure, file)


def _shares_of_rows(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """0…1 `(K, K)`; NaN in the rows of classes without true pixels."""
    rows = matrix.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(matrix, rows, out=np.full(matrix.shape, np.nan), where=rows > 0))


def _label(axes: Any, names: Sequence[str], size: float) -> None:
    labels = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in names]
    places = range(len(names))
    upright = len(names) > 6
    axes.set_xticks(places, labels, rotation=90 if upright else 30, ha="center" if upright else "right", fontsize=size)
    axes.set_yticks(places, labels, fontsize=size)
    axes.set_xlabel("predicted class", color=INK)
    axes.set_ylabel("true class", color=INK)
    axes.set_title("Confusion matrix: share of each class's true pixels", color=INK, fontsize=11, pad=12)


def _separate(axes: Any, count: int) -> None:
    """White lines between the cells."""
    between = np.arange(count + 1) - 0.5
    axes.set_xticks(between, minor=True)
    axes.set_yticks(between, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8 if count <= _MOST_WITH_FIGURES else 0.3)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _write_figures(axes: Any, shares: NDArray[np.float64], size: float) -> None:
    digits = 1 if len(shares) <= 12 else 0
    for i, j in np.ndindex(*shares.shape):
        share = shares[i, j]
        if not np.isnan(share):
            axes.text(j, i, f"{100 * share:.{digits}f}", ha="center", va="center", fontsize=size, color="white" if share > 0.55 else INK)
