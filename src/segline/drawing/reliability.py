"""How far a model's confidence can be believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segline.drawing.canvas import FAINT, INK, canvas, open_frame, save


def reliability_picture(confidence: NDArray[np.float64], accuracy: NDArray[np.float64], pixels: NDArray[np.float64], error: float, file: Path) -> None:
    """Of bins of equal width `(B,)`: mean confidence and share of right pixels, both NaN where a bin has no pixels; below, the share of all pixels.

    Bars that end below the diagonal belong to a model that is surer than it is right. `error`: the expected calibration error.
    """
    count = len(pixels)
    places, width = (np.arange(count) + 0.5) / count, 1 / count
    figure = canvas(6.4, 6.4)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    filled = np.flatnonzero(pixels)
    upper.bar(places[filled], accuracy[filled], width=0.92 * width, color="#3a78b5", label="share of right pixels")
    upper.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--")
    upper.plot(confidence[filled], accuracy[filled], color="#d1603d", marker="o", markersize=4, linewidth=1.5, label="at the mean confidence of the bin")
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share of right pixels")
    upper.set_title(f"Reliability: expected calibration error {error:.4f}", color=INK, fontsize=11)
    upper.legend(loc="upper left", fontsize=8.5, frameon=False)
    lower.bar(places, pixels / max(pixels.sum(), 1), width=0.92 * width, color=FAINT, edgecolor="#9aa5b1", linewidth=0.6)
    lower.set(xlabel="confidence: probability of the likeliest class", ylabel="share of pixels")
    for axes in (upper, lower):
        open_frame(axes)
        axes.set_axisbelow(True)
    save(figure, file)
