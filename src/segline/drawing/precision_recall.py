"""Curves of precision by recall."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.drawing.canvas import INK, canvas, colours, open_frame, panel, save

Curves = Mapping[str, NDArray[np.float64]]
"""Name → precision `(R,)`."""

_MOST_CLASSES = 20  # more curves in one panel cannot be told apart


def precision_recall_picture(recalls: NDArray[np.float64], levels: Curves, classes: Curves, file: Path) -> None:
    """Curves of precision by recall `(R,)`: the mean over classes at several IoU, and up to 20 single classes at IoU 0.5."""
    both = 1 < len(classes) <= _MOST_CLASSES
    figure = canvas(12.8 if both else 6.4, 4.4)
    left = panel(figure, 1, of=2 if both else 1)
    _draw(left, "mean over classes", recalls, levels, _shades(len(levels)))
    if both:
        _draw(panel(figure, 2, of=2), "each class, IoU 0.50", recalls, classes, _different(len(classes)))
    save(figure, file)


def _draw(axes: Any, title: str, recalls: NDArray[np.float64], curves: Curves, palette: list[Any]) -> None:
    for (name, curve), colour in zip(curves.items(), palette, strict=True):
        axes.plot(recalls, curve, color=colour, linewidth=2, label=f"{name}   AP {curve.mean():.3f}")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
    axes.set_title(f"Masks: {title}", color=INK, fontsize=11)
    open_frame(axes)
    if curves:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5, frameon=False)
    else:
        axes.text(0.5, 0.5, "no true objects in this split", ha="center", color=INK)


def _shades(count: int) -> list[Any]:
    """Colours of one order, from dark to light; the lightest tenth is hard to see on white."""
    return [colours("viridis")(i / max(count - 1, 1) * 0.85) for i in range(count)]


def _different(count: int) -> list[Any]:
    return [colours("tab10" if count <= 10 else "tab20")(i) for i in range(count)]
