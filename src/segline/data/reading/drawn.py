"""What the formats of annotation tools have in common: images on which people drew named objects.

Such a format says which objects are drawn where (`Drawing`); here they become classes and truth. Classes are the names that occur, or those of `data.classes`,
in its order; the background, id 0, is what no object covers. Objects whose name means the background are painted as it, and are no objects.
Where all objects of a source are upright boxes, the boxes are the truth, and there are no masks; among others, a box is the object that fills it.
Where objects overlap, the mask of classes shows the one that is drawn later, for tools that keep an order, and else the smaller one; the objects stay whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from segline.choices import nearest
from segline.data.check import Frame, Refused, brief, check_size, fail, name_list
from segline.data.findings import Finding
from segline.data.formats.base import BACKGROUND, MOST_CLASSES, Record, SourceClass, SourceData, SourceObject, SourceTruth, check_class_names
from segline.data.masks import Box, Mask, Outline, Shape
from segline.data.polygons import findings
from segline.data.reading.lookup import paths, settled
from segline.data.reading.painting import covered_pixels, layered
from segline.data.sources import Folder
from segline.data.store import IGNORE, Truth
from segline.errors import DataError

BACKGROUNDS = frozenset({BACKGROUND, "_background_", "__background__"})
"""Names that tools give to what is no object."""

IGNORED = "__ignore__"
"""labelme's name for what takes no part in training and scoring."""

_LONGEST_NAME = 200
"""Characters of a class name."""


class Named(Folder):
    """A folder whose annotations name their classes."""

    classes: list[str] | None = None  # the classes that are read, in this order; default: all


@dataclass(frozen=True)
class DrawnObject:
    """One object, as a tool has drawn it."""

    name: str  # of its class
    shapes: tuple[Shape, ...]  # one or several parts
    where: str  # what sentences call it: "object 3"
    depths: tuple[tuple[float, int], ...] = ()  # of each part its layer and place within it: what has a greater one lies above, of equal ones the later


@dataclass(frozen=True)
class Drawing:
    """What is drawn on one image."""

    image: PurePosixPath  # relative to the root
    split: str | None
    file: str  # the annotation file
    objects: tuple[DrawnObject, ...]
    size: tuple[int, int] | None  # height, width, as the annotations say


def source_of(
    root: Path,
    drawings: Sequence[Drawing],
    classes: Sequence[str] | None,
    *,
    files: Sequence[PurePosixPath],
    listed: Sequence[str] = (),
    ordered: bool = False,
    refused: Sequence[Refused] = (),
    skipped: Counter[str] | None = None,
    unnamed: int = 0,
    licence: str = "unknown",
    problems: Sequence[str] = (),
) -> SourceData:
    """`classes`: `data.classes`. `files`: the annotation files. `listed`: names that the annotations list, in the order of their ids; others follow.
    `ordered`: whether the objects' order says which lies above. `skipped`: kinds of drawings that are no objects (lines, points), counted. `unnamed`: how many
    were left out as nobody named their class.

    Raises DataError with `problems` and all that are found here.
    """
    problems = [*problems, *_twice(root, drawings)]
    occurring = {shown.name for drawing in drawings for shown in drawing.objects} - BACKGROUNDS - {IGNORED}
    known = list(dict.fromkeys([*(name for name in listed if name not in BACKGROUNDS | {IGNORED}), *sorted(occurring)]))
    problems += [f"{_drawn_in(drawings, name)}{sentence}" for name in known if (sentence := about_name(name)) is not None]
    fail(problems)
    names = chosen_names(known, classes)
    ids = {name: i for i, name in enumerate(names)}
    left_out = Counter({f"{kind} (drawn, but no area)": number for kind, number in (skipped or {}).items()})
    if unnamed:
        left_out["(without a label)"] = unnamed
    boxes = _only_boxes(drawings)
    records = []
    for drawing, split in zip(drawings, settled([drawing.split for drawing in drawings]), strict=True):
        wanted = []
        for shown in drawing.objects:
            if shown.name in ids or shown.name in BACKGROUNDS or shown.name == IGNORED:
                wanted.append(shown)
            else:
                left_out[shown.name] += 1
        records.append(Record(Path(drawing.image), split, _Truth(drawing, tuple(wanted), ids, boxes, ordered)))
    truths: tuple[Truth, ...] = ("boxes",) if boxes else ("index", "instances")
    things = tuple(SourceClass(name, name != BACKGROUND) for name in names)
    read = paths([*files, *(drawing.image for drawing in drawings)])
    return SourceData(things, truths, tuple(records), licence, read, tuple(refused), dict(left_out))


def about_name(name: str) -> str | None:
    """What is wrong with the name of a class."""
    if name.strip() and len(name) <= _LONGEST_NAME and name.isprintable():
        return None
    return f"a class is called '{brief(name)}'; a name has 1 to {_LONGEST_NAME} characters, all of which can be printed."


def chosen_names(known: Sequence[str], classes: Sequence[str] | None) -> list[str]:
    """Class names by id, the background first: all that are known, or those of `data.classes`. Raises DataError."""
    if classes is None:
        names = list(known)
        hint = "name the ones you want in data.classes"
    else:
        check_class_names(classes)
        names = [name for name in classes if name not in BACKGROUNDS]
        hint = "name fewer in data.classes"
        problems = []
        for name in names:
            if name not in known:
                near = nearest(name, known)
                problems.append(f"data.classes: nothing is called '{name}'" + (f"; did you mean '{near}'?" if near else f"; there are {name_list(known)}."))
        fail(problems)
    if not names:
        raise DataError("The annotations name no class, so there is nothing to learn. Draw objects and name their classes, or correct data.format.")
    if len(names) >= MOST_CLASSES:
        raise DataError(f"The annotations name {len(names)} classes; at most {MOST_CLASSES - 1} and the background fit in an 8-bit mask. Please {hint}.")
    return [BACKGROUND, *names]


@dataclass(frozen=True)
class _Truth:
    """Draws the objects of one image."""

    drawing: Drawing
    objects: tuple[DrawnObject, ...]
    ids: dict[str, int]
    boxes: bool  # the source has boxes alone
    ordered: bool

    def __call__(self, frame: Frame) -> SourceTruth:
        drawing, image = self.drawing, self.drawing.image.as_posix()
        if drawing.size is not None:
            check_size(drawing.size, frame, f"What {drawing.file} describes", image)
        elif frame.open:
            raise DataError(
                f"{image} is turned by viewers (EXIF orientation), and {drawing.file} does not say its height and width, which would tell whether its objects "
                "are drawn on it as shown or as stored; set data.orientation to displayed or stored."
            )
        size = (frame.height, frame.width)
        found: list[tuple[DrawnObject, SourceObject]] = []
        refused: list[Refused] = []
        problems: list[str] = []
        odd: list[Finding] = []
        for shown in self.objects:
            label = IGNORE if shown.name == IGNORED else self.ids.get(shown.name, 0)
            try:
                one = _boxed(shown, label, size) if self.boxes else _outlined(shown, label, size)
            except ValueError as error:
                problems.append(f"{drawing.file}, {shown.where} of {image}: {error}.")
                continue
            if one is None:
                refused.append(Refused(image, f"{shown.where} of {drawing.file} covers no pixel"))
            else:
                found.append((shown, one))
            odd += findings([shape.corners(size) for shape in shown.shapes if isinstance(shape, Outline)], size, drawing.file, f"{shown.where} of {image}")
        fail(problems)
        objects = tuple(one for _, one in found if one.label not in (0, IGNORE))
        return SourceTruth(None if self.boxes else self._painted(found, size), objects, tuple(refused), findings=tuple(odd))

    def _painted(self, found: Sequence[tuple[DrawnObject, SourceObject]], size: tuple[int, int]) -> NDArray[np.uint8]:
        if not self.ordered:
            above = sorted((one for _, one in found), key=lambda one: -covered_pixels(one.mask))
            return layered([(one.mask, one.label) for one in above], size)
        layers: list[tuple[tuple[float, int], Mask | None, int]] = []
        for shown, one in found:
            depths = shown.depths or ((0.0, 0),)
            if len(set(depths)) == 1:
                layers.append((depths[0], one.mask, one.label))
            else:
                layers += [(depth, shape.draw(size), one.label) for depth, shape in zip(depths, shown.shapes, strict=True)]
        layers.sort(key=lambda layer: layer[0])
        return layered([(mask, label) for _, mask, label in layers], size)


def _boxed(shown: DrawnObject, label: int, size: tuple[int, int]) -> SourceObject | None:
    """An object of which there is a box; None where it lies beside the image."""
    [shape] = shown.shapes
    assert isinstance(shape, Box)
    box = shape.within(size)
    return None if box is None else SourceObject(label, None, box=box)


def _outlined(shown: DrawnObject, label: int, size: tuple[int, int]) -> SourceObject | None:
    """An object with the union of its parts; None where it covers nothing. Raises ValueError."""
    mask: Mask | None = None
    for shape in shown.shapes:
        part = shape.draw(size)
        mask = part if mask is None else mask | part
    return None if mask is None or not mask.any() else SourceObject(label, mask)


def _only_boxes(drawings: Sequence[Drawing]) -> bool:
    objects = [shown for drawing in drawings for shown in drawing.objects]
    return bool(objects) and all(len(shown.shapes) == 1 and isinstance(shown.shapes[0], Box) for shown in objects)


def _twice(root: Path, drawings: Sequence[Drawing]) -> list[str]:
    """A sentence for each image that is described more than once."""
    problems = []
    seen: dict[Path, Drawing] = {}
    for drawing in drawings:
        real = (root / drawing.image).resolve()
        before = seen.setdefault(real, drawing)
        if before is not drawing:
            same = "" if before.image == drawing.image else f" ({before.image}, the same file)"
            problems.append(f"{drawing.file} describes the image {drawing.image}, as {before.file} does{same}; an image belongs to one split, once.")
    return problems


def _drawn_in(drawings: Sequence[Drawing], name: str) -> str:
    found = next((drawing.file for drawing in drawings if any(shown.name == name for shown in drawing.objects)), None)
    return "" if found is None else f"{found}: "
