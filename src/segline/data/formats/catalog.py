"""The formats that `data.format` can name."""

from __future__ import annotations

from segline.data.formats.base import Format
from segline.data.formats.camvid import CamVid
from segline.data.formats.coco import Coco
from segline.data.formats.pennfudan import PennFudan

FORMATS: dict[str, Format] = {"camvid": CamVid(), "pennfudan": PennFudan(), "coco": Coco()}
