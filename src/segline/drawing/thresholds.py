"""Figures by the threshold of a probability."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segline.drawing.canvas import INK, canvas, colours, open_frame, panel, save
from segline.drawing.fonts import brief


def threshold_picture(thresholds: NDArray[np.float64], curves: Mapping[str, NDArray[np.float64]], best: float, name: str, file: Path) -> None:
    """Curves of figures of the class `name`, each `(T,)`, NaN where undefined, and the best threshold."""
    figure = canvas(7.2, 4.4)
    axes = panel(figure)
    at = int(np.argmin(np.abs(thresholds - best)))
    for i, (word, curve) in enumerate(curves.items()):
        axes.plot(thresholds, curve, color=colours("tab10")(i), linewidth=2, label=f"{word}   {curve[at]:.3f}")
    axes.axvline(best, color=INK, linewidth=1, linestyle="--")
    axes.set(xlim=(0, 1), ylim=(0, 1.03), xlabel=f"threshold of the probability of {brief(name, 30)}")
    axes.set_title(f"By threshold; at {best:.2f}, the best on these images:", color=INK, fontsize=11)
    open_frame(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, frameon=False)
    save(figure, file)
