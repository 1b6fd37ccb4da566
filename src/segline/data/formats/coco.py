"""COCO: JSON files of images, annotations and categories, and the images that they name.

Annotation files are those of `annotations/`, else of the root, else of any folder. `instances_<split>*.json` has objects, `panoptic_<split>*.json` with a PNG
for each image has things and stuff, `stuff_<split>*.json` has stuff (its pixel maps say the same and are not read); with other names, what they hold tells.
The split stands in a file's name, or in that of its folder (`train/_annotations.coco.json`); files that name none are divided by `data.splits`, as is one that
is of val or test alone. The images of `instances_train2017.json` are looked for in `train2017/`, `train/`, `images/train2017/`, `images/train/`, `images/` and
the root, in this order, those of a file in a folder of its own beside it first; then everywhere, by as many of their folders as are the same.

Masks are polygons or RLE, compressed or not; `iscrowd` groups are kept as such and are ignored in the semantic mask. Category ids are sparse: here they become
1…n in the order of the ids, and 0 is the background. With `data.classes`, only the named categories are read, in that order; objects of the others count as
background. A category without annotations that only holds the others (Roboflow's) is none. Of panoptic and stuff annotations, pixels that nothing names, or
categories that are not read, are ignored; things come behind stuff, as detectors take class 0 for the background.
Where no annotation at all has a `segmentation`, the boxes are the truth, and there are no masks.
The `bbox` and `area` of an outlined object are kept as they are; both are drawn anew from its mask where the `bbox` is not that object's: a
placeholder, or [x1, y1, x2, y2]. Of crowds both are always kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segline.choices import nearest
from segline.data.check import Frame, Refused, brief, check_size, fail, name_list
from segline.data.findings import Finding
from segline.data.formats.base import BACKGROUND, MOST_CLASSES, Record, Sighting, SourceClass, SourceData, SourceObject, SourceTruth, check_class_names
from segline.data.formats.coco_boxes import area_of, box_of, fits
from segline.data.formats.coco_files import Annotations, Kind, annotation_files, by_image, image_file
from segline.data.formats.coco_panoptic import PanopticTruth, segments_file
from segline.data.masks import decode_mask
from segline.data.polygons import findings, outlines
from segline.data.reading.lookup import Folders, paths, settled
from segline.data.reading.painting import layered, paint
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import IGNORE, Truth
from segline.errors import DataError

_LOOKED_AT = 100
"""Images that are looked for to know whether the annotations are those of a folder."""

_MOST_ARE_THERE = 0.5
"""Share of these that must be there."""


class Settings(Folder):
    """Annotation files and image folders in the layout of COCO."""

    format: Literal["coco"] = "coco"
    classes: list[str] | None = None  # the categories that are read, in this order; default: all, in the order of their ids
    # which annotation files are read; auto: instances, without these panoptic, else stuff
    annotations: Literal["auto", "instances", "panoptic", "stuff"] = "auto"

    @property
    def kind(self) -> Kind | None:
        return None if self.annotations == "auto" else self.annotations


class Coco:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        folders = Folders(root)
        found: list[Path] = []
        for part in annotation_files(root, folders, settings.kind):
            found.append(Path(part.file))
            for image in part.images:
                _add(found, lambda part=part, image=image: image_file(root, folders, part, image))  # type: ignore[misc]
            for annotation in part.annotations if part.kind == "panoptic" else ():
                _add(found, lambda part=part, annotation=annotation: Path(segments_file(folders, part, annotation)))  # type: ignore[misc]
        return list(paths(found))

    def read(self, root: Path, settings: Settings) -> SourceData:
        folders = Folders(root)
        parts = annotation_files(root, folders, settings.kind)
        kind = parts[0].kind
        names = _class_names(parts, settings.classes)
        if settings.classes is None:
            _no_annotated_background(parts)
        stuff = _stuff(parts) | {BACKGROUND}
        boxes = kind == "instances" and _only_boxes(parts)
        ids = {name: i for i, name in enumerate(names)}
        records: list[Record] = []
        problems: list[str] = []
        files = [Path(part.file) for part in parts]
        left_out: dict[str, int] = {}
        seen: dict[Path, tuple[Path, str]] = {}  # by where a file really is: its name here, and the annotation file that lists it
        for part in parts:
            annotated = by_image(part, problems)
            for image in part.images:
                try:
                    file = image_file(root, folders, part, image)
                except ValueError as error:
                    problems.append(f"{part.file} {error}.")
                    continue
                real = (root / file).resolve()
                if real in seen:
                    other, listed = seen[real]
                    before = ("an earlier entry does" if listed == part.file else f"{listed} does") + ("" if other == file else f" ({other}, the same file)")
                    problems.append(f"{part.file} names the image {file.as_posix()}, as {before}; an image belongs to one split, once.")
                    continue
                seen[real] = (file, part.file)
                files.append(file)
                found = annotated.get(image["id"], [])
                truth: Callable[[Frame], SourceTruth]
                if kind == "panoptic":
                    if len(found) != 1:
                        problems.append(
                            f"{part.file} has {len(found)} annotations of the image {file.as_posix()}; panoptic annotations are one for each image."
                        )
                        continue
                    try:
                        png = segments_file(folders, part, found[0])
                    except ValueError as error:
                        problems.append(f"{part.file} {error}.")
                        continue
                    files.append(Path(png))
                    for segment in found[0]["segments_info"]:
                        _count(left_out, part, segment, ids)
                    truth = PanopticTruth(root, part, file.as_posix(), png, found[0]["segments_info"], ids, stuff)
                else:
                    wanted = [annotation for annotation in found if _count(left_out, part, annotation, ids)]
                    truth = _Truth(part, image, file.as_posix(), wanted, ids, boxes)
                records.append(Record(file, part.split, truth))
        fail(problems)
        splits = settled([record.split for record in records])
        records = [Record(record.image, split, record.truth) for record, split in zip(records, splits, strict=True)]
        licences = list(dict.fromkeys(name for part in parts for name in part.licences))
        licence = "unknown" if not licences else licences[0] if len(licences) == 1 else "several; see `licenses` in the annotation files"
        classes = tuple(SourceClass(name, name not in stuff) for name in names)
        truths: tuple[Truth, ...] = ("boxes",) if boxes else ("index", "instances")
        if kind == "stuff" or not any(one.thing for one in classes):
            truths = ("index",)
        return SourceData(classes, truths, tuple(records), licence, paths(files), left_out=left_out)

    def recognise(self, tree: Tree) -> Sighting | None:
        folders = Folders(tree.root)
        try:
            parts = annotation_files(tree.root, folders, None)
        except DataError:
            return None
        listed = [(part, image) for part in parts for image in part.images]
        looked = listed[:: max(1, len(listed) // _LOOKED_AT)]
        there = sum(_is_there(tree.root, folders, part, image) for part, image in looked) / len(looked)
        categories = {name for part in parts for name in part.categories.values()}
        seen = f"{name_list((part.file for part in parts), 4)} ({parts[0].kind}) with {len(listed)} images and {len(categories)} categories"
        if there < _MOST_ARE_THERE:
            return Sighting(0.25, {}, f"{seen}, of whose images {100 * there:.0f} % are in the folder")
        keys: dict[str, Any] = {}
        reasons = {}
        if BACKGROUND in categories:
            keys["classes"] = [BACKGROUND, *(name for name in _class_names(parts, None) if name != BACKGROUND)]
            reasons["classes"] = f"the category '{BACKGROUND}' is what no object covers; its annotations are not read"
        return Sighting(0.95, keys, seen, reasons)


FORMAT = Coco()


@dataclass(frozen=True)
class _Truth:
    """Decodes the annotations of one image."""

    part: Annotations
    entry: dict[str, Any]
    shown: str
    annotations: list[dict[str, Any]]
    ids: dict[str, int]
    boxes: bool  # the source has boxes alone

    def __call__(self, frame: Frame) -> SourceTruth:
        size = (frame.height, frame.width)
        said = (self.entry.get("height"), self.entry.get("width"))
        if None not in said:
            check_size((int(said[0]), int(said[1])), frame, f"The entry of {self.shown} in {self.part.file}", self.shown)  # type: ignore[arg-type]
        elif frame.open:
            raise DataError(
                f"{self.shown} is turned by viewers (EXIF orientation), and its entry in {self.part.file} has no height and width that tell whether "
                "its objects are drawn on it as shown or as stored; set data.orientation to displayed or stored."
            )
        objects: list[SourceObject] = []
        refused: list[Refused] = []
        problems: list[str] = []
        odd: list[Finding] = []
        redrawn = 0
        for annotation in self.annotations:
            number = brief(annotation.get("id", "(without id)"))
            where = f"{self.part.file}, annotation {number} of {self.shown}"
            mask = None
            try:
                if not self.boxes:
                    mask = decode_mask(annotation.get("segmentation"), size)
                box = None if mask is not None and not annotation.get("bbox") else box_of(annotation.get("bbox"), size)
                area = area_of(annotation.get("area"))
            except ValueError as error:
                problems.append(f"{where}: {error}.")
                continue
            if not mask.any() if mask is not None else box is None:
                refused.append(Refused(self.shown, f"annotation {number} of {self.part.file} covers no pixel"))
                continue
            if not self.boxes:
                odd += findings(outlines(annotation.get("segmentation")), size, self.part.file, f"annotation {number} of {self.shown}")
            label = self.ids[self.part.categories[annotation["category_id"]]]
            crowd = bool(annotation.get("iscrowd"))
            if mask is not None and annotation.get("bbox") and not crowd and not fits(box, mask):
                box = area = None
                redrawn += 1
            objects.append(SourceObject(label, mask, crowd, box, area))
        fail(problems)
        noted = {self.part.file: redrawn} if redrawn else {}
        if self.boxes:
            return SourceTruth(None, tuple(objects), tuple(refused), noted)
        painted = paint(objects, size)
        if self.part.kind == "stuff":
            covered = layered([(one.mask, 1) for one in objects], size)
            painted[covered == 0] = IGNORE
            objects = []
        return SourceTruth(painted, tuple(objects), tuple(refused), noted, tuple(odd))


def _is_there(root: Path, folders: Folders, part: Annotations, image: dict[str, Any]) -> bool:
    try:
        image_file(root, folders, part, image)
    except ValueError:
        return False
    return True


def _add(found: list[Path], place: Callable[[], Path]) -> None:
    """A file that is there; the reader tells of one that is not."""
    try:
        found.append(place())
    except ValueError:
        return


def _count(left_out: dict[str, int], part: Annotations, one: dict[str, Any], ids: dict[str, int]) -> bool:
    """Whether an annotation or segment is of a class that is read; others are counted."""
    name = part.categories[one["category_id"]]
    if name in ids and name != BACKGROUND:
        return True
    left_out[name] = left_out.get(name, 0) + 1
    return False


def _stuff(parts: Sequence[Annotations]) -> set[str]:
    """Names of the categories that are no things."""
    return {part.categories[number] for part in parts for number in part.stuff}


def _only_boxes(parts: Sequence[Annotations]) -> bool:
    """Whether objects were boxed and never outlined: some annotation has a `bbox`, and none a `segmentation`."""
    annotations = [annotation for part in parts for annotation in part.annotations]
    return any(a.get("bbox") for a in annotations) and not any(a.get("segmentation") for a in annotations)


def _no_annotated_background(parts: Sequence[Annotations]) -> None:
    """Raises DataError when objects are annotated as background, which is what no object covers."""
    problems = []
    for part in parts:
        number = sum(part.categories.get(category) == BACKGROUND for category in _categories_of(part))
        if number:
            problems.append(
                f"{part.file}: {number} annotations are of the category '{BACKGROUND}', which is what no object covers; "
                "rename the category, remove its annotations, or name the categories that you want in data.classes."
            )
    fail(problems)


def _categories_of(part: Annotations) -> list[Any]:
    """The category id of each annotation or segment, as the file has it."""
    if part.kind != "panoptic":
        return [annotation["category_id"] for annotation in part.annotations]
    segments = [segment for one in part.annotations if isinstance(one["segments_info"], list) for segment in one["segments_info"]]
    numbers = [segment.get("category_id") for segment in segments if isinstance(segment, dict)]
    return [number for number in numbers if isinstance(number, int)]


def _class_names(parts: Sequence[Annotations], classes: Sequence[str] | None) -> list[str]:
    """Class names by id. The first is the background; of panoptic and stuff annotations stuff, where there is some."""
    first: dict[str, int] = {}
    for part in parts:
        used = {part.categories.get(number) for number in _categories_of(part)}
        for identifier, name in part.categories.items():
            if name not in part.holders or name in used:
                first[name] = min(identifier, first.get(name, identifier))
    if classes is None:
        names = sorted((name for name in first if name != BACKGROUND), key=lambda name: (first[name], name))
        hint = "name the ones you want in data.classes"
    else:
        check_class_names(classes)
        names = [name for name in classes if name != BACKGROUND]
        hint = "name fewer in data.classes"
        problems = []
        for name in names:
            if name not in first:
                near = nearest(name, first)
                problems.append(
                    f"data.classes: the annotations have no category '{name}'" + (f"; did you mean '{near}'?" if near else f"; they have {name_list(first)}.")
                )
        fail(problems)
    if not names:
        raise DataError("The annotation files list no categories; there is nothing to learn.")
    if len(names) >= MOST_CLASSES:
        raise DataError(f"The annotations have {len(names)} categories; at most {MOST_CLASSES - 1} and the background fit in an 8-bit mask. Please {hint}.")
    stuff = _stuff(parts)
    ordered = sorted(names, key=lambda name: name not in stuff)
    return ordered if parts[0].kind != "instances" and ordered[0] in stuff else [BACKGROUND, *names]
