"""What figures are drawn on: matplotlib without a screen and without its global state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segline.files import whole

INK, FAINT = "#22303c", "#d9dee3"
"""Colours of text and of grid lines."""


def canvas(width: float, height: float) -> Any:
    """A matplotlib figure of a size in inches; panels are added with `panel`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panel(figure: Any, number: int = 1, of: int = 1) -> Any:
    """The axes of a panel, counted from 1, among `of` in a row."""
    return figure.add_subplot(1, of, number)


def open_frame(axes: Any) -> None:
    """A quiet grid, and lines at the left and below alone."""
    axes.grid(color=FAINT, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def colours(name: str) -> Any:
    """One of matplotlib's colour tables; what has no value is light grey."""
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad="#f1f1f1")


def save(figure: Any, file: Path) -> None:
    """Write a PNG whole. No date and no version inside: equal figures give equal files."""
    with whole(file) as part:
        figure.savefig(part, dpi=110, format="png", metadata={"Software": None})
