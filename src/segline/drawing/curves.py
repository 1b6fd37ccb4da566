"""Training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segline.drawing.canvas import INK, canvas, colours, open_frame, panel, save

Row = Mapping[str, float]
"""One epoch of a training's history: column → value; a column that the epoch lacks is left out."""


def history_picture(rows: Sequence[Row], metric: str, file: Path) -> None:
    """Training curves by epoch: losses, the metric that picks the best epoch (its validation column is `val_<metric>`), the learning rate."""
    chosen = f"val_{metric}"
    figure = canvas(12.6, 4.2)
    losses, scores, rates = (panel(figure, number, of=3) for number in (1, 2, 3))
    _draw(losses, "loss", rows, _loss_columns(rows))
    _draw(scores, chosen, rows, [chosen])
    _draw(rates, "learning rate", rows, ["lr"])
    _mark_best(scores, [row for row in rows if chosen in row], chosen)
    save(figure, file)


def _loss_columns(rows: Sequence[Row]) -> list[str]:
    found: dict[str, None] = {}
    for row in rows:
        found.update(dict.fromkeys(column for column in row if column.startswith("train_") or column == "val_loss"))
    return list(found)


def _draw(axes: Any, title: str, rows: Sequence[Row], columns: Sequence[str]) -> None:
    for i, column in enumerate(columns):
        there = [row for row in rows if column in row]
        epochs, values = [row["epoch"] for row in there], [row[column] for row in there]
        axes.plot(epochs, values, color=colours("tab10")(i), linewidth=2, marker="o", markersize=3, label=column)
    axes.set_title(title, color=INK, fontsize=11)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    open_frame(axes)
    if len(columns) > 1:
        # Below the panel, where no line runs: inside, it would lie on the lines wherever they fall.
        axes.legend(fontsize=8.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)


def _mark_best(axes: Any, rows: Sequence[Row], column: str) -> None:
    if not rows:
        return
    best = max(rows, key=lambda row: (row[column], row["epoch"]))  # of equal ones the last, as the training chooses
    axes.margins(y=0.12)  # room for the figure above its point
    place = (best["epoch"], best[column])
    axes.annotate(f"{best[column]:.3f}", place, xytext=(0, 7), textcoords="offset points", ha="center", fontsize=9, color=INK)
