"""What a model reaches beside what its configuration lets it reach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segline.drawing.canvas import FAINT, INK, canvas, panel, save


def ceiling_picture(names: Sequence[str], reached: Sequence[float], ceilings: Sequence[float], title: str, file: Path) -> None:
    """Horizontal bars 0…1, a figure each: what is reached in front, its ceiling behind; both as numbers."""
    figure = canvas(7.6, 1.4 + 0.36 * len(names))
    axes = panel(figure)
    places = range(len(names))
    axes.barh(places, ceilings, height=0.72, color="#cfe0f1", label="ceiling")
    axes.barh(places, reached, height=0.72, color="#3a78b5", label="reached")
    for place, (ours, most) in enumerate(zip(reached, ceilings, strict=True)):
        axes.text(max(ours, most) + 0.01, place, f"{ours:.4f} of {most:.4f}", va="center", fontsize=8.5, color=INK)
    axes.set_yticks(places, names, fontsize=9)
    axes.set(xlim=(0, 1.25), ylim=(len(names) - 0.4, -0.6))
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, color=INK, fontsize=10, loc="left", wrap=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    save(figure, file)
