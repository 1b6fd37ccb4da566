"""What a folder of annotated images holds, by a look at some of them: sizes, kinds of images, classes, objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from segline.data.extents import Extents
from segline.data.formats.base import Record, SourceClass, SourceData, SourceTruth
from segline.data.images import Decoder, SourceImage
from segline.data.orientation import read_truth
from segline.data.piece import content_of
from segline.data.sources import Folder, Images
from segline.data.store import IGNORE, Truth
from segline.errors import DataError
from segline_runtime.specification import ImageKind

_IMAGES = 150
"""Images that are looked into."""

_BYTES = 40_000_000
"""Of their files, together; of large images fewer are looked into."""


@dataclass
class Survey:
    """Counts are of all images; sizes, classes and objects of those that were looked into."""

    classes: tuple[SourceClass, ...]
    truths: tuple[Truth, ...]
    images: int
    official: dict[str, int]  # images by split, where the source says so
    folders: int  # in which the images lie
    image: ImageKind
    decoded_as: Images  # how all images are of one kind
    grey: bool = False  # all are grey pictures
    looked_at: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)  # height, width
    class_pixels: dict[int, int] = field(default_factory=dict)  # by class id; ignored ones under 255
    class_images: dict[int, int] = field(default_factory=dict)  # images that show a class, by its id
    extents: Extents = field(default_factory=Extents)
    most_objects: int = 0  # in one image
    problems: list[str] = field(default_factory=list)

    @property
    def median(self) -> tuple[int, int]:
        """Height and width of the median image."""
        height, width = np.median(np.array(self.sizes), axis=0)
        return round(float(height)), round(float(width))

    def share(self, label: int) -> float:
        """Of the pixels that are not ignored."""
        total = sum(self.pixels)
        return self.class_pixels.get(label, 0) / total if total else 0.0

    @property
    def pixels(self) -> tuple[int, ...]:
        """Of each class, by its id."""
        return tuple(self.class_pixels.get(label, 0) for label in range(len(self.classes)))

    @property
    def names(self) -> list[str]:
        """Of the classes."""
        return [one.name for one in self.classes]


def survey(root: Path, source: SourceData, settings: Folder) -> Survey:
    """Looks into a sample of the images, the same one each time; what cannot be read is told in `problems`. Raises DataError where none can be."""
    official = Counter(record.split for record in source.records if record.split is not None)
    folders = len({PurePosixPath(record.image).parent for record in source.records})
    chosen: Images = settings.images
    sample = _sample(root, source.records)
    if not sample:
        raise DataError(f"The folder {root} holds no annotated image; annotate some, or give another folder.")
    images, problems = _decoded(root, sample, chosen)
    if problems and chosen == "auto":
        for other in ("rgb", "as_is"):
            again, fewer = _decoded(root, sample, other)
            if len(fewer) < len(problems):
                chosen, images, problems = other, again, fewer
    if not images:
        raise DataError(*problems[:3])
    kind = Decoder(chosen)
    kind(next(iter(images.values())).content, "")
    found = Survey(source.classes, source.truths, len(source.records), dict(official), folders, kind.kind, chosen, problems=problems)
    found.grey = all(image.header.channels == 1 for image in images.values())
    for record in sample:
        image = images.get(record.image)
        if image is None:
            continue
        try:
            truth, _ = read_truth(image, record.truth, settings.orientation, record.image.as_posix())
        except DataError as error:
            found.problems += error.problems
            continue
        _add(found, image, truth)
    if not found.looked_at:
        raise DataError(*found.problems[:8])
    return found


def _sample(root: Path, records: Sequence[Record]) -> list[Record]:
    """Evenly from the list."""
    largest = 1
    for record in records[:3]:
        with suppress(OSError):
            largest = max(largest, (root / record.image).stat().st_size)
    most = max(16, min(_IMAGES, _BYTES // largest))
    if len(records) <= most:
        return list(records)
    return [records[i * len(records) // most] for i in range(most)]


def _decoded(root: Path, sample: Sequence[Record], images: Images) -> tuple[dict[Path, SourceImage], list[str]]:
    decoder = Decoder(images)
    found: dict[Path, SourceImage] = {}
    problems: list[str] = []
    for record in sample:
        shown = record.image.as_posix()
        try:
            found[record.image] = decoder(content_of(root, record), shown)
        except DataError as error:
            problems += error.problems
    return found, problems


def _add(found: Survey, image: SourceImage, truth: SourceTruth) -> None:
    height, width = image.pixels.shape[:2]
    found.looked_at += 1
    found.sizes.append((height, width))
    labels = {shown.label for shown in truth.objects}
    if truth.mask is not None:
        for label, number in enumerate(np.bincount(truth.mask.ravel(), minlength=IGNORE + 1)):
            if number:
                found.class_pixels[label] = found.class_pixels.get(label, 0) + int(number)
                labels.add(label)
    for label in labels - {IGNORE}:
        found.class_images[label] = found.class_images.get(label, 0) + 1
    singles = [shown for shown in truth.objects if not shown.crowd]
    found.most_objects = max(found.most_objects, len(singles))
    boxes = [shown.box if shown.mask is None else _box(shown.mask) for shown in singles]
    found.extents.merge(Extents.of((height, width), truth.mask, [(box[3], box[2]) for box in boxes if box is not None]))


def _box(mask: Any) -> tuple[float, float, float, float]:
    """xywh."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return float(columns[0]), float(rows[0]), float(columns[-1] - columns[0] + 1), float(rows[-1] - rows[0] + 1)
