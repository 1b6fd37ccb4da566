"""The leaderboard as a file: a CSV table with a row for each model, and the picture of figure against time."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from segline.drawing.tables import write_csv
from segline.drawing.tradeoff import Panel, Point, tradeoff_picture
from segline.leaderboard.board import Board, Group
from segline.leaderboard.standing import Standing

_TUPLES = {"image_size": ("image_height", "image_width"), "threads": ("torch_threads", "onnx_threads")}
"""Fields that become two columns."""

_LEFT_OUT = ("lacking",)


def write_table(board: Board, file: Path) -> None:
    """`place`, then everything that is known of a model, then what the first of its table is ahead by; an empty cell: not known."""
    names = [field.name for field in fields(Standing) if field.name not in _LEFT_OUT]
    header = ["place", *(column for name in names for column in _TUPLES.get(name, (name,))), "behind", "behind_low", "behind_high"]
    rows = []
    for group in board.groups:
        for number, place in enumerate(group.places, start=1):
            cells: list[object] = [number if place.standing.value is not None else None]
            for name in names:
                value = getattr(place.standing, name)
                cells += (value or (None, None)) if name in _TUPLES else [value]
            found = place.behind
            cells += [None] * 3 if found is None else [found.difference, found.low, found.high]
            rows.append(["" if cell is None else cell for cell in cells])
    write_csv(file, header, rows)


def write_picture(board: Board, file: Path) -> None:
    """The figure against the time of the exported model, a panel for each table that has both."""
    panels = [Panel(group.title, group.metric, points) for group in board.groups if (points := _points(group))]
    tradeoff_picture(panels, file)


def _points(group: Group) -> list[Point]:
    points = []
    for place in group.places:
        one = place.standing
        if one.value is not None and one.onnx_ms is not None:
            points.append(Point(one.model, one.onnx_ms, one.value, one.low, one.high, one.parameters))
    return points
