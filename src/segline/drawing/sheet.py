"""Three panels side by side under a title and a figure, over a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segline.drawing.fonts import font
from segline.drawing.paint import Colour, Picture

Entry = tuple[str, Colour]
"""A word of the legend and what it looks like."""

MARGIN, GAP = 18, 10
"""Pixels around the sheet, and between its panels."""

_TITLE, _LINE = 56, 24  # heights in pixels: of the title strip, of a line of the legend
_SWATCH, _SPACE = 21, 22  # widths in pixels: of a colour with its distance to the word, of the distance between two entries
_PAPER, _INK, _QUIET = (255, 255, 255), (28, 38, 48), (110, 120, 130)


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
    lines = _legend_lines(panels.legend, panels.marks, total - 2 * MARGIN)
    top = MARGIN + _TITLE
    canvas = Image.new("RGB", (total, top + height + 12 + _LINE * len(lines) + MARGIN - 6), _PAPER)
    draw = ImageDraw.Draw(canvas)
    _draw_title(draw, title, figure, total)
    for i, (caption, picture) in enumerate((("truth", panels.truth), ("prediction", panels.prediction), ("error", panels.error))):
        x = MARGIN + i * (width + GAP)
        draw.text((x, top - 7), caption, font=font(14), fill=_QUIET, anchor="ls")
        canvas.paste(Image.fromarray(picture), (x, top))
    for row, line in enumerate(lines):
        _draw_legend(draw, line, top + height + 12 + _LINE * row)
    return np.asarray(canvas)


@dataclass(frozen=True)
class _Placed:
    """An entry of the legend at its place in its line, in pixels from the sheet's left edge."""

    x: int
    name: str
    colour: Colour


def _draw_title(draw: ImageDraw.ImageDraw, title: str, figure: str, total: int) -> None:
    bold, plain = font(19, bold=True), font(17)
    right = total - MARGIN - draw.textlength(figure, font=plain)
    draw.text((MARGIN, MARGIN), _shortened(title, bold, right - MARGIN - 20), font=bold, fill=_INK, anchor="la")
    draw.text((right, MARGIN + 1), figure, font=plain, fill=_INK, anchor="la")


def _draw_legend(draw: ImageDraw.ImageDraw, line: Sequence[_Placed], y: int) -> None:
    for entry in line:
        draw.rounded_rectangle((entry.x, y + 3, entry.x + 14, y + 17), radius=3, fill=entry.colour, outline=_QUIET)
        draw.text((entry.x + _SWATCH, y + 10), entry.name, font=font(14), fill=_INK, anchor="lm")


def _legend_lines(legend: Sequence[Entry], marks: Sequence[Entry], width: int) -> list[list[_Placed]]:
    """All entries, broken into lines of `width` pixels; the marks of the error panel start a line of their own."""
    return _broken(legend, width) + _broken(marks, width)


def _broken(entries: Sequence[Entry], width: int) -> list[list[_Placed]]:
    lines: list[list[_Placed]] = []
    x = width + 1  # the first entry opens a line
    for name, colour in entries:
        needed = _SWATCH + int(font(14).getlength(name))
        if x + needed > width:
            lines.append([])
            x = 0
        lines[-1].append(_Placed(MARGIN + x, name, colour))
        x += needed + _SPACE
    return lines


def _shortened(text: str, letters: ImageFont.FreeTypeFont, width: float) -> str:
    while letters.getlength(text) > width and len(text) > 2:
        text = f"{text[:-2]}…"
    return text
