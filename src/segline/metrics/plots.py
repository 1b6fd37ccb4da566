"""Pictures and tables of metrics, for `dvc plots show`, MLflow and the README. The only module of the package that draws."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.files import whole

_INK, _FAINT = "#22303c", "#d9dee3"


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with whole(file) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_class_table(file: Path, names: Sequence[str], columns: Mapping[str, Sequence[float | None]]) -> None:
    """One row per class, sorted by the last column, best first; a class without a figure has an empty cell and comes last."""
    *_, last = columns.values()
    order = sorted(range(len(names)), key=lambda i: -1.0 if last[i] is None else float(last[i] or 0), reverse=True)
    write_csv(file, ["class", *columns], [(names[i], *("" if column[i] is None else column[i] for column in columns.values())) for i in order])


def class_picture(names: Sequence[str], columns: Mapping[str, Sequence[float | None]], file: Path) -> None:
    """Horizontal bars per class, 0…1: the first column in front, with its figure, the second (the larger one) behind it. Best class on top."""
    (front_name, front), (back_name, back) = columns.items()
    order = sorted(range(len(names)), key=lambda i: -1.0 if front[i] is None else float(front[i] or 0))
    figure, axes = _canvas(6.4, 1.5 + 0.3 * len(names))
    rows = range(len(names))
    axes.barh(rows, [back[i] or 0 for i in order], height=0.72, color="#cfe0f1", label=back_name)
    axes.barh(rows, [front[i] or 0 for i in order], height=0.72, color="#3a78b5", label=front_name)
    for row, i in enumerate(order):
        text = "not in this split" if front[i] is None else f"{front[i]:.3f}"
        axes.text(max(front[i] or 0, back[i] or 0) + 0.01, row, text, va="center", fontsize=8.5, color=_INK)
    axes.set_yticks(rows, [names[i] for i in order], fontsize=9)
    axes.set(xlim=(0, 1.12), ylim=(-0.6, max(len(names), 1) - 0.4))
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    axes.set_title(f"{front_name} and {back_name} by class", color=_INK, fontsize=11)
    axes.grid(axis="x", color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    _save(figure, file)


def history_picture(rows: Sequence[Mapping[str, float]], metric: str, file: Path) -> None:
    """Training curves by epoch: losses, the metric that picks the best epoch (its validation column is `val_<metric>`), the learning rate."""
    chosen = f"val_{metric}"
    losses = [key for key in dict.fromkeys(k for row in rows for k in row) if key.startswith("train_") or key == "val_loss"]
    panels = [("loss", losses), (chosen, [chosen]), ("learning rate", ["lr"])]
    figure, *axes = _canvas(12.6, 3.6, len(panels))
    for panel, (title, columns) in zip(axes, panels, strict=True):
        for i, column in enumerate(columns):
            points = [(row["epoch"], row[column]) for row in rows if column in row]
            panel.plot(*zip(*points, strict=True), color=_colours("tab10")(i), linewidth=2, marker="o", markersize=3, label=column)
        panel.set_title(title, color=_INK, fontsize=11)
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(color=_FAINT, linewidth=0.7)
        panel.spines[["top", "right"]].set_visible(False)
        if len(columns) > 1:
            panel.legend(fontsize=8.5, frameon=False)
    best = max((row for row in rows if chosen in row), key=lambda row: row[chosen], default=None)
    if best is not None:
        axes[1].annotate(f"{best[chosen]:.3f}", (best["epoch"], best[chosen]), xytext=(0, -14), textcoords="offset points", ha="center", fontsize=9, color=_INK)
    _save(figure, file)


def confusion_picture(matrix: NDArray[np.int64], names: Sequence[str], file: Path) -> None:
    """Confusion matrix `(C, C)`, each row in percent of its class's true pixels; figures in the cells up to 24 classes."""
    count = len(names)
    rows = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, rows, out=np.full(matrix.shape, np.nan), where=rows > 0)
    side = float(np.clip(2.6 + 0.52 * count, 5.2, 17))
    text = float(np.clip(10.5 - 0.11 * count, 5.5, 10))
    figure, axes = _canvas(side + 0.9, side)
    picture = axes.imshow(shares, cmap=_colours("Blues"), vmin=0, vmax=1)
    labels = [name if len(name) <= 22 else f"{name[:21]}…" for name in names]
    axes.set_xticks(range(count), labels, rotation=90 if count > 6 else 30, ha="center" if count > 6 else "right", fontsize=text)
    axes.set_yticks(range(count), labels, fontsize=text)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8 if count <= 24 else 0.3)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class", color=_INK)
    axes.set_ylabel("true class", color=_INK)
    axes.set_title("Confusion matrix: share of each class's true pixels", color=_INK, fontsize=11, pad=12)
    if count <= 24:
        for i, j in np.ndindex(count, count):
            if not np.isnan(shares[i, j]):
                value = f"{100 * shares[i, j]:.1f}" if count <= 12 else f"{100 * shares[i, j]:.0f}"
                axes.text(j, i, value, ha="center", va="center", fontsize=text - 0.5, color="white" if shares[i, j] > 0.55 else _INK)
    bar = figure.colorbar(picture, ax=axes, fraction=0.045, pad=0.02, format=lambda value, _: f"{100 * value:.0f} %")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=9)
    _save(figure, file)


def precision_recall_picture(
    recalls: NDArray[np.float64], levels: Mapping[str, NDArray[np.float64]], classes: Mapping[str, NDArray[np.float64]], file: Path
) -> None:
    """Curves of precision by recall `(R,)`: the mean over classes at several IoU, and up to 20 single classes at IoU 0.5."""
    panels: list[tuple[str, Mapping[str, NDArray[np.float64]], str]] = [("mean over classes", levels, "viridis")]
    if 1 < len(classes) <= 20:
        panels.append(("each class, IoU 0.50", classes, "tab10" if len(classes) <= 10 else "tab20"))
    figure, *axes = _canvas(6.4 * len(panels), 4.4, len(panels))
    for panel, (title, curves, colours) in zip(axes, panels, strict=True):
        table = _colours(colours)
        for i, (name, curve) in enumerate(curves.items()):
            colour = table(i / max(len(curves) - 1, 1) * 0.85) if colours == "viridis" else table(i)
            panel.plot(recalls, curve, color=colour, linewidth=2, label=f"{name}   AP {curve.mean():.3f}")
        panel.set(xlim=(0, 1.01), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
        panel.set_title(f"Masks: {title}", color=_INK, fontsize=11)
        panel.grid(color=_FAINT, linewidth=0.7)
        panel.spines[["top", "right"]].set_visible(False)
        if curves:
            panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5, frameon=False)
        else:
            panel.text(0.5, 0.5, "no true objects in this split", ha="center", color=_INK)
    _save(figure, file)


def _canvas(width: float, height: float, panels: int = 1) -> Any:
    """A figure in inches and its axes, on a canvas that needs no screen and leaves matplotlib's global state alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return (figure, *(figure.add_subplot(1, panels, i + 1) for i in range(panels)))


def _colours(name: str) -> Any:
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad="#f1f1f1")


def _save(figure: Any, file: Path) -> None:
    with whole(file) as part:
        # No date and no version inside: equal figures give equal files.
        figure.savefig(part, dpi=110, format="png", metadata={"Software": None})
