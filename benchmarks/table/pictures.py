"""The pictures of one data set: the figure by the share of the training images, and against the time of a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segline.drawing.canvas import INK, canvas, colours, open_frame, panel, save
from segline.drawing.tradeoff import Panel, Point, tradeoff_picture

_LINES = ("-", "--", ":", "-.")


def write(rows: Sequence[Mapping[str, Any]], file: Path) -> list[Path]:
    """`file`, where there are several shares, and `<file>-time.png` of the largest share; the pictures that there are."""
    scored = [row for row in rows if row["value"] is not None]
    drawn = []
    if len({row["share"] for row in scored}) > 1:
        _by_share(scored, file)
        drawn.append(file)
    most = max((row["share"] for row in scored), default=None)
    points = [_point(row) for row in scored if row["share"] == most and row["onnx_ms"] is not None]
    if points:
        first = scored[0]
        title = f"{first['data']}, {100 * most:g} % of the training images: {first['metric']} on {first['images']} images of {first['split']}"
        beside = file.with_name(f"{file.stem}-time.png")
        tradeoff_picture([Panel(title, first["metric"], points)], beside)
        drawn.append(beside)
    return drawn


def _point(row: Mapping[str, Any]) -> Point:
    return Point(f"{row['architecture']} {row['start']}", row["onnx_ms"], row["value"], row["low"], row["high"], row["parameters"])


def _by_share(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """A colour for each architecture, a kind of line for each start; the intervals of lines stand a little beside one another."""
    architectures = list(dict.fromkeys(row["architecture"] for row in rows))
    starts = list(dict.fromkeys(row["start"] for row in rows))
    kinds = list(dict.fromkeys((row["architecture"], row["start"]) for row in rows))
    figure = canvas(7.6, 4.8)
    axes = panel(figure)
    for place, (architecture, start) in enumerate(kinds):
        line = sorted((row for row in rows if (row["architecture"], row["start"]) == (architecture, start)), key=lambda row: row["share"])
        beside = 1 + 0.03 * (place - (len(kinds) - 1) / 2)
        across = [100 * row["share"] * beside for row in line]
        colour = colours("tab10" if len(architectures) <= 10 else "tab20")(architectures.index(architecture))
        style = _LINES[starts.index(start) % len(_LINES)]
        axes.plot(across, [row["value"] for row in line], style, color=colour, marker="o", markersize=4, linewidth=1.8, label=f"{architecture} {start}")
        for x, row in zip(across, line, strict=True):
            if row["low"] is not None:
                axes.plot([x, x], [row["low"], row["high"]], color=colour, linewidth=1, alpha=0.6)
    axes.set_xscale("log")
    shares = sorted({100 * row["share"] for row in rows})
    axes.set_xticks(shares, [f"{share:g} %" for share in shares])
    axes.minorticks_off()
    first = rows[0]
    axes.set(xlabel="share of the training images", ylabel=first["metric"])
    axes.set_title(f"{first['data']}: {first['metric']} on {first['images']} images of {first['split']}", color=INK, fontsize=11)
    axes.legend(fontsize=8.5, frameon=False, handlelength=3.2, loc="center left", bbox_to_anchor=(1.0, 0.5))
    open_frame(axes)
    save(figure, file)
