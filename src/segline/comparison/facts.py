"""Facts of test images by which they are sliced: size, brightness, and the size of their objects. They come from the prepared data and are kept by its hash."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segline import written
from segline.data.store import IGNORE, DatasetInfo, PreparedDataset, Sample, Truth
from segline.errors import DataError
from segline.files import write_json
from segline.progress import progress as told

VERSION = 1
"""Of the kept file."""


@dataclass(frozen=True)
class Facts:
    """Of one image."""

    height: int  # pixels
    width: int
    brightness: float  # mean over pixels and channels, 0 … 1
    object_pixels: float | None  # median area of its objects, in pixels; None where it shows none


def facts(dataset: PreparedDataset, kept: Path, *, progress: bool = False) -> dict[str, Facts]:
    """Facts of the scored split's images, by content hash. What was found is kept in the folder `kept`, by the hash of the split. Raises DataError."""
    split = dataset.info.scored
    place = kept / f"{dataset.info.split_hashes[split]}.json"
    found = _read(place)
    if found is None:
        found = _measured(dataset, split, progress)
        content = {"version": VERSION, "images": {key: [one.height, one.width, one.brightness, one.object_pixels] for key, one in found.items()}}
        with suppress(OSError):  # where nothing can be kept, it is measured again the next time
            write_json(place, content)
    return found


def _read(file: Path) -> dict[str, Facts] | None:
    """None where nothing is kept, or what is kept cannot be used: it is measured anew."""
    try:
        with written.reading(file, DataError, "remove it, and it is made anew"):
            values = written.mapping(file)
            if written.version_of(values) != VERSION:
                return None
            return {key: written.well_typed(Facts(*row)) for key, row in values["images"].items()}
    except (DataError, FileNotFoundError):
        return None


def _measured(dataset: PreparedDataset, name: str, progress: bool) -> dict[str, Facts]:
    info = dataset.info
    split = dataset.split(name, [_by_which(info)])
    things = [one.id for one in info.classes if one.thing]
    found = {}
    with told("looking at the test images", len(split), shown=progress) as advance:
        for sample, key in zip(split, split.hashes(), strict=True):
            height, width = sample.image.shape[:2]
            brightness = float(np.mean(sample.image, dtype=np.float64)) / info.image.scale
            areas = _areas(sample, things)
            # Six digits tell images apart, and a kept value is the measured one.
            median = round(float(np.median(areas)), 1) if areas else None
            found[key] = Facts(height, width, round(brightness, 6) if math.isfinite(brightness) else 0.0, median)
            advance(1)
    return found


def _by_which(info: DatasetInfo) -> Truth:
    """The truth that knows objects best: as they were annotated, before connected parts of a mask."""
    kinds: tuple[Truth, ...] = ("instances", "boxes", "index")
    return next(kind for kind in kinds if kind in info.truths)


def _areas(sample: Sample, things: list[int]) -> list[float]:
    """Areas of an image's objects in pixels; of index masks, those of the connected parts of the classes that are things, or of all where none is."""
    if sample.instances is not None:
        return [float(area) for area in sample.instances.areas[~sample.instances.crowd]]
    assert sample.mask is not None
    present = [int(label) for label in np.unique(sample.mask) if label != IGNORE]
    areas: list[float] = []
    for label in (label for label in present if label in things or not things):
        _, _, stats, _ = cv2.connectedComponentsWithStats((sample.mask == label).astype(np.uint8), connectivity=8)
        areas += [float(area) for area in stats[1:, cv2.CC_STAT_AREA]]
    return areas
