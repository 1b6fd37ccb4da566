"""What the colours of a picture mean, in lines of equal columns below it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from segline.data.store import BACKDROP
from segline.drawing.fonts import font, letter_size, shortened
from segline.drawing.paint import Colour, Picture

Entry = tuple[str, Colour]
"""A word of the legend and what it looks like."""

PAPER, INK, QUIET = (255, 255, 255), (28, 38, 48), (110, 120, 130)

_LONGEST = 24  # widths of a letter, which a word is cut to


def with_legend(picture: Picture, entries: Sequence[Entry], otherwise: str) -> Picture:
    """The picture over its legend, in letters that go with its size; `otherwise` is written where there are no entries."""
    size = letter_size(picture.shape)
    height, width = picture.shape[:2]
    margin = round(0.7 * size)
    sheet = Image.new("RGB", (width, height + 2 * margin + legend_height(entries, width - 2 * margin, size)), PAPER)
    sheet.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(sheet)
    if entries:
        draw_legend(draw, entries, margin, height + margin, width - 2 * margin, size)
    else:
        draw.text((margin, height + margin + 0.8 * size), shortened(otherwise, font(size), width - 2 * margin), font=font(size), fill=QUIET, anchor="lm")
    return np.asarray(sheet)


def legend_height(entries: Sequence[Entry], width: int, size: float) -> int:
    """Pixels that the entries take in a strip of `width`, of letters of `size`; a line at least."""
    columns, _ = _columns(entries, width, size)
    return max(1, -(-len(entries) // columns)) * _line(size)


def draw_legend(draw: ImageDraw.ImageDraw, entries: Sequence[Entry], left: int, top: int, width: int, size: float) -> None:
    """The entries, row by row; a background, which is not painted, has an empty square."""
    columns, step = _columns(entries, width, size)
    line, square = _line(size), round(size)
    for i, (name, colour) in enumerate(entries):
        x, y = left + i % columns * step, top + i // columns * line
        upper = y + (line - square) // 2
        box = (x, upper, x + square, upper + square)
        draw.rounded_rectangle(box, radius=size // 5, fill=None if colour == BACKDROP else colour, outline=QUIET, width=max(1, round(size / 14)))
        text = shortened(name, font(size), min(_LONGEST * 0.6 * size, width - 1.5 * size))
        draw.text((x + 1.5 * size, y + line / 2), text, font=font(size), fill=INK, anchor="lm")


def _columns(entries: Sequence[Entry], width: int, size: float) -> tuple[int, int]:
    """How many columns there are, and pixels from one to the next."""
    widest = max((font(size).getlength(name) for name, _ in entries), default=0)
    step = round(min(widest, _LONGEST * 0.6 * size) + 3 * size)
    return max(1, (width + round(1.5 * size)) // step), step


def _line(size: float) -> int:
    return round(1.6 * size)
