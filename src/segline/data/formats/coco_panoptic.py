"""The truth of COCO's panoptic annotations: a PNG for each image, in which a segment's pixels hold its id as red + 256 green + 256² blue; 0 is nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.check import Frame, Refused, brief, check_size, decode, fail, name_list, read_bytes
from segline.data.formats.base import SourceObject, SourceTruth
from segline.data.formats.coco_boxes import area_of, box_of, fits
from segline.data.formats.coco_files import Annotations
from segline.data.reading.lookup import Folders
from segline.data.store import IGNORE
from segline.errors import DataError


def segments_file(folders: Folders, part: Annotations, annotation: Mapping[str, Any]) -> PurePosixPath:
    """Where the PNG of an annotation is. Raises ValueError, with a phrase."""
    file = PurePosixPath(part.file)
    places = (file.parent / file.stem, PurePosixPath(file.stem), PurePosixPath("annotations", file.stem))
    return folders.image(str(annotation["file_name"]), *places)


def segment_ids(root: Path, file: PurePosixPath) -> NDArray[np.int32]:
    """The ids `(H, W)` of the segments in a PNG. Raises DataError."""
    image = decode(read_bytes(root / file, file.as_posix()), file.as_posix())
    if image.mode not in ("RGB", "RGBA"):
        raise DataError(f"{file} is an image of the mode {image.mode}; panoptic segments are coloured (RGB), red + 256 green + 256² blue. Export it again.")
    pixels = np.asarray(image.convert("RGB"), dtype=np.int32)
    return np.asarray(pixels[..., 0] + 256 * pixels[..., 1] + 256 * 256 * pixels[..., 2], dtype=np.int32)


@dataclass(frozen=True)
class PanopticTruth:
    """Decodes the segments of one image. What is no segment, or of a category that is not read, is ignored."""

    root: Path
    part: Annotations
    image: str
    file: PurePosixPath
    segments: Sequence[dict[str, Any]]
    ids: Mapping[str, int]
    stuff: Collection[str]  # categories that are no things

    def __call__(self, frame: Frame) -> SourceTruth:
        pixels = segment_ids(self.root, self.file)
        check_size((pixels.shape[0], pixels.shape[1]), frame, f"The segments {self.file}", self.image)
        known = {segment["id"]: segment for segment in self.segments}
        values, positions = np.unique(pixels, return_inverse=True)
        unknown = [int(value) for value in values if value != 0 and int(value) not in known]
        if unknown:
            raise DataError(f"{self.file} holds the segments {name_list(unknown, 6)}, which {self.part.file} does not list; export both again.")
        missing = sorted(set(known) - {int(value) for value in values}, key=str)
        table = np.full(len(values), IGNORE, dtype=np.uint8)
        objects: list[SourceObject] = []
        problems: list[str] = []
        redrawn = 0
        for i, value in enumerate(values):
            segment = known.get(int(value))
            name = "" if segment is None else self.part.categories[segment["category_id"]]
            if segment is None or name not in self.ids:
                continue
            label = self.ids[name]
            crowd = bool(segment.get("iscrowd"))
            table[i] = IGNORE if crowd else label
            if name in self.stuff:
                continue
            mask = pixels == value
            try:
                box = box_of(segment["bbox"], (frame.height, frame.width)) if segment.get("bbox") else None
                area = area_of(segment.get("area"))
            except ValueError as error:
                problems.append(f"{self.part.file}, segment {value} of {self.image}: {error}.")
                continue
            if segment.get("bbox") and not crowd and not fits(box, mask):
                box = area = None
                redrawn += 1
            objects.append(SourceObject(label, mask, crowd, box, area))
        fail(problems)
        refused = tuple(Refused(self.image, f"segment {brief(number)} of {self.part.file} covers no pixel") for number in missing)
        mask = table[positions].reshape(pixels.shape)
        return SourceTruth(mask, tuple(objects), refused, {self.part.file: redrawn} if redrawn else {})
