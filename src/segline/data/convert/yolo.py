"""YOLO: `images/<split>/`, `labels/<split>/<name>.txt` and `data.yaml`. A line of a text file is the number of an object's class, from 0 on, and its outline as
one polygon, or its box, in shares of the image's sides.

A polygon follows the borders of an object's pixels; parts and holes are joined by lines of no width. Without objects, each connected area of a class but the
background becomes one. YOLO knows no crowds and no ignored pixels: these are left out, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

from segline.data.convert.base import Part, copy
from segline.data.convert.outline import outline
from segline.data.formats.base import BACKGROUND
from segline.data.store import IGNORE, Instances, Sample, Truth
from segline_runtime.specification import ClassInfo


class Yolo:
    """See the module's docstring."""

    needs: tuple[Truth, ...] = ("instances", "boxes", "index")

    def write(self, folder: Path, parts: Sequence[Part], classes: Sequence[ClassInfo], truths: Sequence[Truth]) -> Counter[str]:
        lost: Counter[str] = Counter()
        objects = bool({"instances", "boxes"} & set(truths))
        named = [one for one in classes if (one.thing if objects else one.name != BACKGROUND)]
        numbers = {one.id: i for i, one in enumerate(named)}
        lost["classes that are no things"] = sum(one.id not in numbers and one.name != BACKGROUND for one in classes)
        for part in parts:
            labels = folder / "labels" / part.name
            labels.mkdir(parents=True)
            for file, sample in part:
                copy(file, folder / "images" / part.name)
                found = _of_objects(sample.instances, sample, lost) if sample.instances is not None else _of_areas(sample, numbers, lost)
                lines = [" ".join([str(numbers[label]), *(f"{value:.10g}" for value in values)]) for label, values in found]
                (labels / f"{file.stem}.txt").write_text("".join(f"{line}\n" for line in lines))
        content = {**{part.name: f"images/{part.name}" for part in parts}, "names": {i: one.name for i, one in enumerate(named)}}
        content.setdefault("val", content[parts[0].name])  # YOLO's training asks for it
        stream = StringIO()
        YAML().dump(content, stream)
        (folder / "data.yaml").write_text(stream.getvalue(), encoding="utf-8")
        return lost


WRITER = Yolo()


def _of_objects(instances: Instances, sample: Sample, lost: Counter[str]) -> Iterator[tuple[int, list[float]]]:
    """The class and the numbers of each object's line."""
    height, width = sample.image.shape[:2]
    for i, label in enumerate(instances.labels.tolist()):
        if instances.crowd[i]:
            lost["crowds"] += 1
        elif instances.outlined:
            yield label, _shares(instances.mask(i))
        else:
            left, top, right, bottom = (float(side) for side in instances.boxes[i])
            yield label, [(left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height]


def _of_areas(sample: Sample, numbers: dict[int, int], lost: Counter[str]) -> Iterator[tuple[int, list[float]]]:
    """The class and the numbers of the line of each connected area."""
    assert sample.mask is not None
    lost["ignored pixels"] += int(np.count_nonzero(sample.mask == IGNORE))
    for label in numbers:
        for area in _connected(sample.mask == label):
            yield label, _shares(area)


def _connected(mask: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """The parts of a mask whose pixels are neighbours, each as a mask of its own."""
    import cv2

    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    for number in range(1, count):
        yield np.asarray(parts == number)


def _shares(mask: NDArray[np.bool_]) -> list[float]:
    height, width = mask.shape
    return [float(value) for value in (outline(mask) / (width, height)).ravel()]
