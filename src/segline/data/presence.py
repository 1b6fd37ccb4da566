"""Which classes each image of a source shows: asked before splits are drawn in which no class is to be missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segline.data.formats.base import SourceData
from segline.data.images import Decoder
from segline.data.orientation import read_truth
from segline.data.piece import content_of
from segline.data.sources import Drawn
from segline.data.store import IGNORE
from segline.errors import DataError
from segline.progress import progress


def classes_shown(root: Path, source: SourceData, decoder: Decoder, drawn: Drawn) -> dict[str, frozenset[int]]:
    """Class ids by image; none for an image that cannot be read, which is told when it is prepared."""
    found: dict[str, frozenset[int]] = {}
    with progress("looking for classes", len(source.records)) as told:
        for record in source.records:
            told(1)
            shown = record.image.as_posix()
            try:
                image = decoder(content_of(root, record), shown)
                truth, _ = read_truth(image, record.truth, drawn, shown)
            except DataError:
                continue
            labels = {one.label for one in truth.objects}
            if truth.mask is not None:
                labels |= {int(value) for value in np.unique(truth.mask)} - {IGNORE}
            found[shown] = frozenset(labels)
    return found
