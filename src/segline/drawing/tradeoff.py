"""Figure against time: which models nothing else beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segline.drawing.canvas import INK, canvas, open_frame, panel, save
from segline.drawing.fonts import brief

_BEST, _OTHER = "#3a78b5", "#8d99a6"
_SMALLEST, _LARGEST = 30.0, 260.0  # areas of points, square points
_LONGEST_NAME = 24


@dataclass(frozen=True)
class Point:
    """One model."""

    name: str
    milliseconds: float
    value: float
    low: float | None
    high: float | None
    parameters: int | None


@dataclass(frozen=True)
class Panel:
    """Models that were scored alike."""

    title: str
    metric: str
    points: Sequence[Point]


def tradeoff_picture(panels: Sequence[Panel], file: Path) -> None:
    """A panel for each: milliseconds per image from left to right, the figure with its interval upwards, a point's area by the parameters.

    What no other model beats in figure and time is blue, and joined by a line.
    """
    number = max(len(panels), 1)
    figure = canvas(6.6 * number, 4.6)
    for place in range(number):
        axes = panel(figure, place + 1, of=number)
        if panels:
            _draw(axes, panels[place])
        else:
            axes.text(0.5, 0.5, "no model has both a figure and a time", ha="center", color=INK, transform=axes.transAxes)
    save(figure, file)


def best(points: Sequence[Point]) -> list[Point]:
    """Those that no other one equals or beats in both figure and time, by rising time."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.milliseconds, -point.value)):
        if not found or point.value > found[-1].value:
            found.append(point)
    return found


def _draw(axes: Any, shown: Panel) -> None:
    front = best(shown.points)
    axes.plot([point.milliseconds for point in front], [point.value for point in front], color=_BEST, linewidth=1.2, drawstyle="steps-post", zorder=1)
    most = max((point.parameters or 0 for point in shown.points), default=0)
    for point in shown.points:
        colour = _BEST if point in front else _OTHER
        if point.low is not None and point.high is not None:
            axes.plot([point.milliseconds] * 2, [point.low, point.high], color=colour, linewidth=1.6, zorder=2)
        area = _SMALLEST + (_LARGEST - _SMALLEST) * (point.parameters or 0) / max(most, 1)
        axes.scatter([point.milliseconds], [point.value], s=area, color=colour, alpha=0.85, linewidths=0, zorder=3)
        label = brief(point.name, _LONGEST_NAME)
        axes.annotate(label, (point.milliseconds, point.value), xytext=(9, 5), textcoords="offset points", fontsize=8.5, color=INK)
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.12)
    for axis in (axes.xaxis,):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda value, _: f"{value:g}" if len(shown.points) and _first_digit(value) in "25" else "")
    axes.set(xlabel="milliseconds per image, ONNX Runtime", ylabel=shown.metric)
    axes.set_title(shown.title, color=INK, fontsize=11)
    open_frame(axes)


def _first_digit(value: float) -> str:
    return f"{value:e}"[0]
