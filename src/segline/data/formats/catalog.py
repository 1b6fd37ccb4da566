"""The formats that `data.format` can name: word → module with `Settings` (its keys in params.yaml) and `FORMAT` (its reader)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from segline.choices import nearest
from segline.errors import DataError

if TYPE_CHECKING:  # else the words in `segline --help` would take numpy and pydantic
    from segline.data.formats.base import Format
    from segline.data.sources import Folder

FORMATS: dict[str, str] = {
    "ade20k": "segline.data.formats.ade20k",
    "bsds500": "segline.data.formats.bsds500",
    "camvid": "segline.data.formats.camvid",
    "carvana": "segline.data.formats.carvana",
    "cityscapes": "segline.data.formats.cityscapes",
    "coco": "segline.data.formats.coco",
    "ctc": "segline.data.formats.ctc",
    "cvat": "segline.data.formats.cvat",
    "deepfashion2": "segline.data.formats.deepfashion2",
    "isbi2012": "segline.data.formats.isbi2012",
    "kitti": "segline.data.formats.kitti",
    "labelbox": "segline.data.formats.labelbox",
    "labelme": "segline.data.formats.labelme",
    "mapillary": "segline.data.formats.mapillary",
    "masks": "segline.data.formats.masks",
    "oxford_pet": "segline.data.formats.oxford_pet",
    "pennfudan": "segline.data.formats.pennfudan",
    "roboflow": "segline.data.formats.roboflow",
    "supervisely": "segline.data.formats.supervisely",
    "via": "segline.data.formats.via",
    "voc_sbd": "segline.data.formats.voc_sbd",  # before voc: who has SBD beside it means both
    "voc": "segline.data.formats.voc",
    "yolo": "segline.data.formats.yolo",
    "auto": "segline.data.formats.auto",
}

GENERAL = "masks"
"""What any images with masks can be read as: it is asked where no other format is at home."""

AUTO = "auto"
"""The word by which the format is found out."""

DEFAULT = "coco"
"""What a folder is read as where params.yaml names no format, and the layout of generated data."""


class FormatModule(Protocol):
    """What the module of a format offers."""

    Settings: type[Folder]
    FORMAT: Format[Any]  # reads with the module's own Settings


def get(word: str) -> FormatModule:
    """The module of a format. Raises DataError for an unknown word, with the nearest right ones."""
    if word not in FORMATS:
        near = nearest(word, FORMATS)
        raise DataError(f"There is no format '{word}'; the formats are {', '.join(FORMATS)}." + (f" Did you mean {near}?" if near else ""))
    return cast(FormatModule, import_module(FORMATS[word]))


def readers(word: str) -> list[str]:
    """The modules by which a source of this format may be read."""
    return list(FORMATS.values()) if word == AUTO else [FORMATS[word]]


def generated(raw: Path) -> Folder:
    """How generated data in `raw` is read."""
    return get(DEFAULT).Settings(source=str(raw), format=DEFAULT)
