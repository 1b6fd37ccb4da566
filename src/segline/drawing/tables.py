"""CSV files, and the figures of each class as a table and as bars."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segline.drawing.canvas import FAINT, INK, canvas, panel, save
from segline.drawing.fonts import brief
from segline.files import whole

Figures = Sequence[float | None]
"""One figure per class; None where a class has none."""

_MOST_IN_PANEL = 32  # classes: more make a panel too high to be seen at once
_LONGEST_NAME = 30


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with whole(file) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_class_table(file: Path, names: Sequence[str], columns: Mapping[str, Figures]) -> None:
    """One row per class, sorted by the last column, best first; a class without a figure has an empty cell and comes last."""
    *_, last = columns.values()
    rows = []
    for i in sorted(range(len(names)), key=lambda i: _rank(last[i]), reverse=True):
        cells = ["" if column[i] is None else column[i] for column in columns.values()]
        rows.append([names[i], *cells])
    write_csv(file, ["class", *columns], rows)


def class_picture(names: Sequence[str], columns: Mapping[str, Figures], file: Path) -> None:
    """Horizontal bars per class, 0…1: the first column in front, with its figure, the second (the larger one) behind it.

    The best class is on top; many classes stand in several panels beside one another, which are read from left to right.
    """
    (front_name, front), (back_name, _) = columns.items()
    best_first = sorted(range(len(names)), key=lambda i: _rank(front[i]), reverse=True)
    panels = -(-len(names) // _MOST_IN_PANEL) or 1
    rows = -(-len(names) // panels)
    figure = canvas(6.4 if panels == 1 else 5.2 * panels, 1.5 + 0.3 * rows)
    for number in range(panels):
        axes = panel(figure, number + 1, of=panels)
        _draw_bars(axes, names, columns, best_first[number * rows : (number + 1) * rows])
        _frame_of_bars(axes, rows)
    figure.suptitle(f"{front_name} and {back_name} by class", color=INK, fontsize=11)
    # The panels' bars look alike, so those of one stand for all.
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    save(figure, file)


def _draw_bars(axes: Any, names: Sequence[str], columns: Mapping[str, Figures], chosen: Sequence[int]) -> None:
    """The bars of some classes, the first on top."""
    (front_name, front), (back_name, back) = columns.items()
    places = range(len(chosen))
    axes.barh(places, [back[i] or 0 for i in chosen], height=0.72, color="#cfe0f1", label=back_name)
    axes.barh(places, [front[i] or 0 for i in chosen], height=0.72, color="#3a78b5", label=front_name)
    for place, i in zip(places, chosen, strict=True):
        text = "not in this split" if front[i] is None else f"{front[i]:.3f}"
        axes.text(max(front[i] or 0, back[i] or 0) + 0.01, place, text, va="center", fontsize=8.5, color=INK)
    labels = [brief(names[i], _LONGEST_NAME) for i in chosen]
    axes.set_yticks(places, labels, fontsize=9)


def _frame_of_bars(axes: Any, rows: int) -> None:
    """Room for `rows` bars, of which the first is at the top."""
    axes.set(xlim=(0, 1.14), ylim=(max(rows, 1) - 0.4, -0.6))
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _rank(value: float | None) -> float:
    return -1.0 if value is None else float(value)
