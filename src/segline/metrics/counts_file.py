"""`counts.npz`: the counts of a split on disk. Arrays alone, nothing pickled; the entry `kind` says which counts they are, `version` how they are written."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from segline.errors import ModelError
from segline.files import whole
from segline.metrics.base import Counts
from segline.metrics.detection_counts import DetectionCounts
from segline.metrics.pixel_counts import PixelCounts

VERSION = 1

KINDS: dict[str, type[PixelCounts] | type[DetectionCounts]] = {"pixels": PixelCounts, "detections": DetectionCounts}


def save(counts: Counts, file: Path) -> None:
    """Write counts, whole or not at all."""
    arrays = {"version": np.array(VERSION), "kind": np.array(counts.kind), **counts.arrays()}
    with whole(file) as part, part.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def load(file: Path) -> Counts:
    """The counts in a file. Raises ModelError when it is not there, of a later version, or cannot be read."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            version = int(archive["version"])
            kind = str(archive["kind"])
            if version > VERSION or kind not in KINDS:
                raise ModelError(
                    f"{file} was written by a later Segline (version {version}, {kind}; this one reads version {VERSION}). Update Segline, or remove the file."
                )
            return KINDS[kind].from_arrays(archive)
    except FileNotFoundError:
        raise ModelError(f"There is no file of counts {file}; run `dvc repro evaluate@{file.parent.name}` first.") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{file} cannot be read ({error}); remove it, and it is made anew when it is needed.") from None
