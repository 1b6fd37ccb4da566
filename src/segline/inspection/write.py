"""Both files of a survey, each written whole."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from segline.data.survey import Survey
from segline.files import whole
from segline.inspection import samples
from segline.inspection.page import page
from segline.inspection.pictures import Album, sheet
from segline.layout import CheckFolder


def write(survey: Survey, folder: CheckFolder) -> None:
    """Write check.html and, where an image can be drawn, samples.png into a folder, which is replaced."""
    album = Album(survey)
    with whole(folder.path) as made:
        made.mkdir()
        part = CheckFolder(made)
        part.page.write_text(page(survey, album), encoding="utf-8")
        picture = sheet(survey, album, samples.for_sheet(survey))
        if picture is not None:
            Image.fromarray(picture).save(part.samples, "PNG")


def write_page(survey: Survey, file: Path) -> None:
    """Write the page alone."""
    with whole(file) as part:
        part.write_text(page(survey, Album(survey)), encoding="utf-8")
