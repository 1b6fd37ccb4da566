"""Pascal VOC: `JPEGImages/`, `SegmentationClass/` (palette PNG, 255 = ignored), `SegmentationObject/` (numbered objects), `Annotations/*.xml` (boxes),
`ImageSets/Segmentation/<split>.txt` and `ImageSets/Main/<split>.txt`, and `labelmap.txt` with the names and colours, as CVAT writes it.

Images keep their file type, and their names, with the split before these where two splits have one name. A pixel belongs to one object in VOC: where objects
overlap, the smaller one has it, and an object that others cover entirely is lost; objects above the 254th of an image are, too. Corners of boxes count pixels
from 1 and are whole numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segline.data.convert.base import Part, copy
from segline.data.store import IGNORE, Instances, Truth
from segline_runtime.specification import ClassInfo

_MOST = 254
"""Objects of an image that 8 bits can number beside 0 and 255."""

_BORDER = (224, 224, 192)
"""VOC's colour of 255."""


class Voc:
    """See the module's docstring."""

    needs: tuple[Truth, ...] = ("index", "boxes", "instances")

    def write(self, folder: Path, parts: Sequence[Part], classes: Sequence[ClassInfo], truths: Sequence[Truth]) -> Counter[str]:
        lost: Counter[str] = Counter()
        colours = _palette()
        stems = Counter(Path(name).stem.lower() for part in parts for split in part.splits for name in split.names())
        prefixed = max(stems.values(), default=0) > 1
        for part in parts:
            names = []
            for file, sample in part:
                name = f"{part.name}_{file.stem}" if prefixed else file.stem
                copy(file, folder / "JPEGImages", f"{name}{file.suffix}")
                names.append(name)
                if sample.mask is not None:
                    _save(sample.mask, colours, folder / "SegmentationClass" / f"{name}.png")
                if sample.instances is not None:
                    size = (sample.image.shape[0], sample.image.shape[1], sample.image.shape[2])
                    _write_boxes(f"{name}{file.suffix}", size, sample.instances, classes, folder / "Annotations" / f"{name}.xml")
                    if "instances" in truths:
                        numbers = _numbered(sample.instances, size[:2], sample.mask, lost)
                        _save(numbers, colours, folder / "SegmentationObject" / f"{name}.png")
            for kind in ("Segmentation", "Main"):
                (folder / "ImageSets" / kind).mkdir(parents=True, exist_ok=True)
                (folder / "ImageSets" / kind / f"{part.name}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        lines = [f"{one.name}:{','.join(str(int(value)) for value in colours[one.id])}::\n" for one in classes]
        (folder / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "".join(lines), encoding="utf-8")
        return lost


WRITER = Voc()


def _palette() -> NDArray[np.uint8]:
    """VOC's colours `(256, 3)`: the bits of an index are dealt out to red, green and blue, the highest bits of these first."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    for index in range(256):
        for bit in range(8):
            colours[index, bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    colours[IGNORE] = _BORDER
    return colours


def _save(labels: NDArray[np.uint8], colours: NDArray[np.uint8], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels).convert("L")
    image.putpalette(colours.ravel().tolist())
    image.save(file)


def _numbered(instances: Instances, size: tuple[int, int], mask: NDArray[np.uint8] | None, lost: Counter[str]) -> NDArray[np.uint8]:
    """Objects numbered from 1 on, the larger ones painted first; crowds, and what the mask of classes ignores, are 255."""
    numbers = np.zeros(size, dtype=np.uint8)
    areas = [int(np.count_nonzero(instances.mask(i))) for i in range(len(instances))]
    if mask is not None:
        numbers[mask == IGNORE] = IGNORE
    singles = sorted((i for i in range(len(instances)) if not instances.crowd[i]), key=lambda i: -areas[i])
    for i in np.flatnonzero(instances.crowd).tolist():
        numbers[instances.mask(i)] = IGNORE
    for number, i in enumerate(singles, start=1):
        if number <= _MOST:
            numbers[instances.mask(i)] = number
    hidden = sum(not (numbers == number).any() for number in range(1, min(len(singles), _MOST) + 1))
    beyond = max(0, len(singles) - _MOST)
    lost["objects that others cover entirely"] += hidden
    lost[f"objects beyond {_MOST} in one image"] += beyond
    return numbers


def _write_boxes(name: str, size: tuple[int, int, int], instances: Instances, classes: Sequence[ClassInfo], file: Path) -> None:
    top = ElementTree.Element("annotation")
    ElementTree.SubElement(top, "filename").text = name
    sides = ElementTree.SubElement(top, "size")
    for key, value in zip(("width", "height", "depth"), (size[1], size[0], size[2]), strict=True):
        ElementTree.SubElement(sides, key).text = str(value)
    ElementTree.SubElement(top, "segmented").text = str(int(instances.outlined))
    for i, label in enumerate(instances.labels.tolist()):
        one = ElementTree.SubElement(top, "object")
        ElementTree.SubElement(one, "name").text = classes[label].name
        ElementTree.SubElement(one, "difficult").text = str(int(instances.crowd[i]))
        left, upper, right, lower = (float(side) for side in instances.boxes[i])
        corners = (math.floor(left) + 1, math.floor(upper) + 1, math.ceil(right), math.ceil(lower))
        box = ElementTree.SubElement(one, "bndbox")
        for key, corner in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
            ElementTree.SubElement(box, key).text = str(corner)
    ElementTree.indent(top)
    file.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(top).write(file, encoding="utf-8")
