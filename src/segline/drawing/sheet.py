"""Three panels side by side under a title and a figure, over a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from segline.drawing.fonts import font, shortened
from segline.drawing.legend import INK, PAPER, QUIET, Entry, draw_legend, legend_height
from segline.drawing.paint import Picture

MARGIN, GAP = 18, 10
"""Pixels around the sheet, and between its panels."""

_TITLE, _BELOW = 56, 12  # heights in pixels: of the title strip, of the distance from the panels to the legend
_LETTERS = 14  # pixels


@dataclass(frozen=True)
class Panels:
    """What a task draws of one image. The pictures have one size."""

    truth: Picture
    prediction: Picture
    error: Picture
    legend: Sequence[Entry]  # the classes that are to be seen
    marks: Sequence[Entry]  # what the colours of the error panel mean


def sheet(panels: Panels, *, title: str, figure: str) -> Picture:
    """The panels with their captions; the title is cut where the figure, at the right, would not fit beside it."""
    height, width = panels.truth.shape[:2]
    total = 2 * MARGIN + 3 * width + 2 * GAP
    inside = total - 2 * MARGIN
    top = MARGIN + _TITLE
    # The marks of the error panel start a line of their own.
    legends = [entries for entries in (panels.legend, panels.marks) if entries]
    heights = [legend_height(entries, inside, _LETTERS) for entries in legends]
    canvas = Image.new("RGB", (total, top + height + _BELOW + sum(heights) + MARGIN - 6), PAPER)
    draw = ImageDraw.Draw(canvas)
    _draw_title(draw, title, figure, total)
    for i, (caption, picture) in enumerate((("truth", panels.truth), ("prediction", panels.prediction), ("error", panels.error))):
        x = MARGIN + i * (width + GAP)
        draw.text((x, top - 7), caption, font=font(_LETTERS), fill=QUIET, anchor="ls")
        canvas.paste(Image.fromarray(picture), (x, top))
    y = top + height + _BELOW
    for entries, needed in zip(legends, heights, strict=True):
        draw_legend(draw, entries, MARGIN, y, inside, _LETTERS)
        y += needed
    return np.asarray(canvas)


def _draw_title(draw: ImageDraw.ImageDraw, title: str, figure: str, total: int) -> None:
    bold, plain = font(19, bold=True), font(17)
    right = total - MARGIN - draw.textlength(figure, font=plain)
    draw.text((MARGIN, MARGIN), shortened(title, bold, right - MARGIN - 20), font=bold, fill=INK, anchor="la")
    draw.text((right, MARGIN + 1), figure, font=plain, fill=INK, anchor="la")
