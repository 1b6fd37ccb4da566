"""A share of the training images: prepared data whose `train` is a part of another's, and whose other splits are the same.

Which images are in it is drawn by a hash of their content, and a smaller share lies within every larger one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segline.data.extents import Extents
from segline.data.formats.base import SourceObject
from segline.data.statistics import Measured, Statistics
from segline.data.store import Instances, PreparedDataset, Truth
from segline.data.writer import SplitWriter
from segline.errors import DataError
from segline.files import whole

LEAST = 2
"""Images: one to learn from, and one that steers where the data has no split for that."""


def chosen(hashes: Sequence[str], share: float, seed: int) -> list[int]:
    """The positions of the images that a share has, in order; `hashes`: of their contents."""
    number = max(1, round(share * len(hashes)))
    drawn = sorted(range(len(hashes)), key=lambda i: (hashlib.sha256(f"{seed}/{hashes[i]}".encode()).digest(), i))
    return sorted(drawn[:number])


def write(source: PreparedDataset, share: float, seed: int, target: Path) -> None:
    """Write the prepared data with a share of the training images; whole or not at all. Raises DataError where too few are left."""
    if share == 1:
        with whole(target) as folder:
            shutil.copytree(source.folder, folder, copy_function=os.link)
        return
    info = source.info
    truths: list[Truth] = list(info.truths)
    train = source.split("train", truths)
    positions = chosen(train.hashes(), share, seed)
    if len(positions) < LEAST:
        raise DataError(f"{share:g} of {len(train)} training images of '{info.name}' is {len(positions)}; {LEAST} are needed. Name a larger share.")
    names = train.names()
    statistics, extents = Statistics(len(info.classes)), Extents()
    with whole(target) as folder:
        folder.mkdir()
        for split in ("val", "test"):
            shutil.copytree(source.folder / split, folder / split, copy_function=os.link)
        writer = SplitWriter(folder / "train", truths)
        try:
            for position in positions:
                sample = train[position]
                statistics.add(Measured.of(sample.image, sample.mask))
                size = (sample.image.shape[0], sample.image.shape[1])
                file = Path(names[position])
                objects = [] if sample.instances is None else _objects(sample.instances)
                extents.merge(Extents.of(size, sample.mask, [(one.box[3], one.box[2]) for one in objects if one.box is not None and not one.crowd]))
                writer.add(file.stem, file.suffix, train.content(position), size, sample.mask, objects)
            digest = writer.finish()
        finally:
            writer.close()
        extents.write(folder)
        mean, std = statistics.mean_and_std(info.image)
        reduced = replace(
            info,
            mean=mean,
            std=std,
            class_pixels=tuple(int(pixels) for pixels in statistics.class_pixels),
            class_image_pixels=tuple(int(pixels) for pixels in statistics.class_image_pixels),
            counts={**info.counts, "train": writer.count},
            instance_counts={**info.instance_counts, "train": writer.objects} if info.instance_counts else {},
            split_hashes={**info.split_hashes, "train": digest},
            image_size=statistics.image_size(),
        )
        (folder / "dataset.json").write_text(json.dumps(reduced.to_dict(), indent=2) + "\n")


def _objects(found: Instances) -> list[SourceObject]:
    """As a format would give them: their own masks, boxes and areas."""
    objects = []
    for i in range(len(found)):
        left, top, right, bottom = (float(value) for value in found.boxes[i])
        mask = found.mask(i) if found.outlined else None
        objects.append(SourceObject(int(found.labels[i]), mask, bool(found.crowd[i]), (left, top, right - left, bottom - top), float(found.areas[i])))
    return objects
