"""CSV files, and the figures of each class as a table and as bars."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segline.drawing.canvas import FAINT, INK, canvas, panel, save
from segline.files import whole

Figures = Sequence[float | None]
"""One figure per class; None where a class has none."""


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
    """Horizontal bars per class, 0…1: the first column in front, with its figure, the second (the larger one) behind it. Best class on top."""
    (front_name, front), (back_name, back) = columns.items()
    order = sorted(range(len(names)), key=lambda i: _rank(front[i]))
    figure = canvas(6.4, 1.5 + 0.3 * len(names))
    axes = panel(figure)
    rows = range(len(names))
    axes.barh(rows, [back[i] or 0 for i in order], height=0.72, color="#cfe0f1", label=back_name)
    axes.barh(rows, [front[i] or 0 for i in order], height=0.72, color="#3a78b5", label=front_name)
    for row, i in enumerate(order):
        text = "not in this split" if front[i] is None else f"{front[i]:.3f}"
        axes.text(max(front[i] or 0, back[i] or 0) + 0.01, row, text, va="center", fontsize=8.5, color=INK)
    axes.set_yticks(rows, [names[i] for i in order], fontsize=9)
    axes.set_title(f"{front_name} and {back_name} by class", color=INK, fontsize=11)
    _frame_of_bars(axes, len(names))
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    save(figure, file)


def _frame_of_bars(axes: Any, count: int) -> None:
    axes.set(xlim=(0, 1.12), ylim=(-0.6, max(count, 1) - 0.4))
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _rank(value: float | None) -> float:
    return -1.0 if value is None else float(value)
