"""Images with their truth, drawn small, as the source of an HTML `<img>` and as one sheet."""

from __future__ import annotations

import base64
import io
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from segline.data.store import BACKDROP, IGNORE
from segline.data.survey import Look, Seen, Survey
from segline.drawing.fonts import font, shortened
from segline.drawing.legend import INK, PAPER, QUIET, Entry, draw_legend, legend_height
from segline.drawing.paint import IGNORED, Colour, Picture
from segline.drawing.scale import resized
from segline.drawing.truth import class_picture, thumbnail_size, truth_picture
from segline.drawing.view import view
from segline.errors import DataError
from segline_runtime.specification import ClassInfo

LONGER = 272
"""Pixels of a thumbnail's longer side."""

_PANEL = 380  # of a picture on the sheet
_COLUMNS, _MARGIN, _LETTERS = 4, 16, 14
_QUALITY = 82
_MARKED: Colour = (235, 60, 40)
"""A background has no colour of its own; where it is shown, it has this one."""

_REMEMBERED = 4
"""Images that are kept decoded: one is shown for several classes, mostly in a row."""


class Album:
    """The images of a survey, drawn when they are asked for. What cannot be decoded is None."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._looks: OrderedDict[int, Look | None] = OrderedDict()

    def plain(self, file: str) -> str | None:
        """A photograph with its truth, where that can be read, by its file."""
        number = self._survey.numbers.get(file)
        return None if number is None else self.whole(number)

    def whole(self, number: int) -> str | None:
        picture = self.overlay(number, LONGER)
        return None if picture is None else _source(picture)

    def of_class(self, number: int, info: ClassInfo) -> str | None:
        """A photograph in which one class is marked."""
        look = self._look(number)
        if look is None or look.truth is None:
            return None
        colour = _MARKED if info.color == BACKDROP else info.color
        size = thumbnail_size(look.pixels.shape, LONGER)
        return _source(class_picture(view(look.pixels), look.truth, info, colour, size))

    def overlay(self, number: int, longer: int) -> Picture | None:
        look = self._look(number)
        if look is None:
            return None
        size = thumbnail_size(look.pixels.shape, longer)
        if look.truth is None:
            return resized(view(look.pixels), size)
        return truth_picture(view(look.pixels), look.truth, self._survey.classes, size)

    def _look(self, number: int) -> Look | None:
        if number not in self._looks:
            try:
                self._looks[number] = None if self._survey.look is None else self._survey.look(number)
            except DataError:
                self._looks[number] = None
            if len(self._looks) > _REMEMBERED:
                self._looks.popitem(last=False)
        return self._looks[number]


def sheet(survey: Survey, album: Album, chosen: Sequence[Seen]) -> Picture | None:
    """Images with their truth in rows, their names below, and a legend of the classes that are to be seen; None where no image can be drawn."""
    drawn = [(seen, picture) for seen in chosen if (picture := album.overlay(seen.number, _PANEL)) is not None]
    if not drawn:
        return None
    columns = min(_COLUMNS, len(drawn))
    rows = [drawn[start : start + columns] for start in range(0, len(drawn), columns)]
    heights = [max(picture.shape[0] for _, picture in row) + 2 * _LETTERS for row in rows]
    width = 2 * _MARGIN + columns * _PANEL + (columns - 1) * _MARGIN
    entries = _legend(survey, [seen for seen, _ in drawn])
    legend = legend_height(entries, width - 2 * _MARGIN, _LETTERS) if entries else 0
    title = 3 * _LETTERS
    canvas = Image.new("RGB", (width, 2 * _MARGIN + title + sum(heights) + _MARGIN * len(rows) + legend), PAPER)
    draw = ImageDraw.Draw(canvas)
    counts = ", ".join(f"{number} {split}" for split, number in survey.counts().items())
    draw.text((_MARGIN, _MARGIN), f"{survey.name}: {counts}", font=font(1.4 * _LETTERS, bold=True), fill=INK, anchor="la")
    top = _MARGIN + title
    for row, height in zip(rows, heights, strict=True):
        for i, (seen, picture) in enumerate(row):
            left = _MARGIN + i * (_PANEL + _MARGIN)
            canvas.paste(Image.fromarray(picture), (left, top))
            name = shortened(f"{seen.split}: {seen.file}", font(_LETTERS), _PANEL)
            draw.text((left, top + picture.shape[0] + 4), name, font=font(_LETTERS), fill=QUIET, anchor="la")
        top += height + _MARGIN
    if entries:
        draw_legend(draw, entries, _MARGIN, top, width - 2 * _MARGIN, _LETTERS)
    return np.asarray(canvas)


def _legend(survey: Survey, shown: Sequence[Seen]) -> list[Entry]:
    """The classes of some images, and ignored pixels."""
    present = {label for seen in shown for label in (*seen.pixels, *seen.labels.tolist())}
    entries: list[Entry] = [(info.name, info.color) for info in survey.classes if info.id in present]
    return [*entries, ("ignored", IGNORED)] if IGNORE in present else entries


def _source(picture: Picture) -> str:
    """A `data:` address, so that the page needs no other file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
