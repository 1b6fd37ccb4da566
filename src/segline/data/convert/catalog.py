"""The layouts that `segline convert --to` can name: word → module with `WRITER`."""

from __future__ import annotations

from segline import choices
from segline.data.convert.base import Writer
from segline.errors import DataError

LAYOUTS: dict[str, str] = {
    "coco": "segline.data.convert.coco",
    "masks": "segline.data.convert.masks",
    "voc": "segline.data.convert.voc",
    "yolo": "segline.data.convert.yolo",
}


def get(word: str) -> Writer:
    """Raises DataError for an unknown word, with the known ones."""
    if word not in LAYOUTS:
        near = choices.nearest(word, LAYOUTS)
        raise DataError(f"Nothing converts to '{word}'; there are {', '.join(LAYOUTS)}." + (f" Did you mean {near}?" if near else ""))
    writer: Writer = choices.module(LAYOUTS, "layout", word).WRITER
    return writer
