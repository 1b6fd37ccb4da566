"""`counts.npz`: the counts of a split on disk. Arrays alone, nothing pickled; the entry `kind` says which counts they are, `version` how they are written."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np

from segline import written
from segline.errors import ModelError
from segline.files import whole
from segline.metrics.base import Counts
from segline.metrics.detection_counts import DetectionCounts
from segline.metrics.label_counts import LabelCounts
from segline.metrics.per_image import PerImage
from segline.metrics.pixel_counts import BINS, PixelCounts

VERSION = 1

C = TypeVar("C", bound=PerImage)

KINDS: dict[str, type[PixelCounts] | type[DetectionCounts] | type[LabelCounts]] = {
    counts.kind: counts for counts in (PixelCounts, DetectionCounts, LabelCounts)
}


def save(counts: Counts, file: Path) -> None:
    """Write counts, whole or not at all."""
    arrays = {"version": np.array(VERSION), "kind": np.array(counts.kind), **counts.arrays()}
    with whole(file) as part, part.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def load(file: Path) -> Counts:
    """The counts in a file. Raises ModelError when it is not there, of a later version, or cannot be read."""
    try:
        again = "remove it, and it is made anew when it is needed"
        with written.reading(file, ModelError, again), np.load(file, allow_pickle=False) as archive:
            version = int(archive["version"])
            kind = str(archive["kind"])
            if version > VERSION or kind not in KINDS:
                raise ModelError(
                    f"{file} was written by a later Segline (version {version}, {kind}; this one reads version {VERSION}). Update Segline, or remove the file."
                )
            return _sound(KINDS[kind].from_arrays(archive))
    except FileNotFoundError:
        raise ModelError(f"There is no file of counts {file}; run `dvc repro evaluate@{file.parent.name}` first.") from None


def _sound(counts: C) -> C:
    """The counts when their parts fit each other. Raises ValueError or TypeError."""
    images = len(counts.images)
    if counts.ids.shape != (images,) or len(counts.hashes) not in (0, images) or not all(isinstance(name, str) for name in (*counts.images, *counts.classes)):
        raise ValueError("its images do not fit each other")
    for name in counts.tables:
        columns = {**counts.empty, **counts.on_request}[name]
        table = counts.tables[name]
        offsets = table.offsets
        if offsets.shape != (images + 1,) or offsets.dtype.kind not in "iu" or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise ValueError(f"its table {name} does not fit its images")
        for column, empty in columns.items():
            values = table.columns[column]
            if values.dtype.kind != empty.dtype.kind or values.shape != (offsets[-1], *empty.shape[1:]):
                raise ValueError(f"its column {name}.{column} is of another shape or kind")
    classes = len(counts.classes)
    for name, table in counts.tables.items():
        for column in ("cell", "label", "bin"):
            if column in table.columns and ((values := table.columns[column]) >= _most(name, column, classes)).any() | (values < 0).any():
                raise ValueError(f"its column {name}.{column} names a class or a bin that there is not")
    return counts


def _most(table: str, column: str, classes: int) -> int:
    """What the numbers of a column stay below."""
    return {"cell": classes**2, "label": classes, "bin": BINS.get(table, 0)}[column]
