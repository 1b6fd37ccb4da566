"""COCO: `<split>/` with images and `annotations/instances_<split>.json` with RLE masks; of boxes alone without masks.

Where there are masks of classes of which some are no things, or masks of classes alone, `annotations/stuff_<split>.json` has an RLE mask of each class of an
image; its category ids are those of the classes plus 1, and pixels without one are ignored. Both are COCO's own kinds of annotations.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from segline.data.convert.base import Part, copy
from segline.data.formats.base import BACKGROUND
from segline.data.masks import encode_mask
from segline.data.store import IGNORE, Instances, Sample, Truth
from segline_runtime.specification import ClassInfo


class Coco:
    """See the module's docstring."""

    needs: tuple[Truth, ...] = ("instances", "boxes", "index")

    def write(self, folder: Path, parts: Sequence[Part], classes: Sequence[ClassInfo], truths: Sequence[Truth]) -> Counter[str]:
        objects = bool({"instances", "boxes"} & set(truths))
        stuff = "index" in truths and (not objects or any(not one.thing and one.name != BACKGROUND for one in classes))
        (folder / "annotations").mkdir()
        for part in parts:
            streams: list[_Annotations] = []
            if objects:
                things = [{"id": one.id, "name": one.name} for one in classes if one.thing]
                streams.append(_Annotations(folder / "annotations" / f"instances_{part.name}.json", things))
            if stuff:
                named = [{"id": one.id + 1, "name": one.name} for one in classes]
                streams.append(_Annotations(folder / "annotations" / f"stuff_{part.name}.json", named))
            for number, (file, sample) in enumerate(part, start=1):
                name = copy(file, folder / part.name)
                entry = {"id": number, "file_name": name, "height": sample.image.shape[0], "width": sample.image.shape[1]}
                shapes = ([_objects(sample.instances)] if objects else []) + ([_areas(sample)] if stuff else [])
                for stream, found in zip(streams, shapes, strict=True):
                    stream.add(entry, found)
            for stream in streams:
                stream.close()
        return Counter()


WRITER = Coco()


class _Annotations:
    """An annotation file that is written as its images come."""

    def __init__(self, file: Path, categories: Sequence[dict[str, Any]]) -> None:
        self._stream: IO[str] = file.open("w", encoding="utf-8")
        self._stream.write('{"annotations": [\n')
        self._categories = categories
        self._images: list[dict[str, Any]] = []
        self._number = 0

    def add(self, image: dict[str, Any], annotations: Iterator[dict[str, Any]]) -> None:
        self._images.append(image)
        for annotation in annotations:
            self._stream.write(",\n" if self._number else "")
            self._number += 1
            self._stream.write(json.dumps({"id": self._number, "image_id": image["id"], **annotation}))

    def close(self) -> None:
        rest = {"images": self._images, "categories": self._categories}
        self._stream.write("\n],\n" + json.dumps(rest)[1:] + "\n")
        self._stream.close()


def _objects(instances: Instances | None) -> Iterator[dict[str, Any]]:
    assert instances is not None
    codes = instances.rles() if instances.outlined else None
    for i, label in enumerate(instances.labels.tolist()):
        left, top, right, bottom = (float(side) for side in instances.boxes[i])
        shape = {} if codes is None else {"segmentation": {"size": list(codes[i]["size"]), "counts": _text(codes[i]["counts"])}}
        own = {"category_id": label, "iscrowd": int(instances.crowd[i]), **shape}
        yield {**own, "area": float(instances.areas[i]), "bbox": [left, top, right - left, bottom - top]}


def _areas(sample: Sample) -> Iterator[dict[str, Any]]:
    """What each class covers of an image."""
    assert sample.mask is not None
    for label in np.unique(sample.mask).tolist():
        if label != IGNORE:
            yield {"category_id": label + 1, "iscrowd": 0, **encode_mask(sample.mask == label)}


def _text(counts: str | bytes) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
