"""The COCO layout: `annotations/instances_<split>*.json` and image folders of the same name.

The images of `instances_train2017.json` are looked for in `train2017/`, `train/`, `images/train2017/`, `images/train/`, `images/` and the root, in this order.
An annotation file whose name says no split is divided by `data.splits`. Masks are polygons or RLE, compressed or not; `iscrowd` groups are kept as such and
are ignored in the semantic mask. Category ids are sparse: here they become 1…n in the order of the ids, and 0 is the background.
With `data.classes`, only the named categories are read, in that order; the objects of the others count as background.
Where no annotation at all has a `segmentation`, the boxes are the truth, and there are no masks.
The `bbox` and `area` of an outlined object are kept as they are; both are drawn anew from its mask where the `bbox` is not that object's: a
placeholder, or [x1, y1, x2, y2]. Of crowds both are always kept.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segline.choices import nearest
from segline.data.check import Frame, Refused, brief, check_size, fail, is_file, name_list, read_bytes
from segline.data.formats.base import BACKGROUND, MOST_CLASSES, Record, Sighting, SourceClass, SourceData, SourceObject, SourceTruth, check_class_names, is_text
from segline.data.formats.tree import Tree
from segline.data.masks import decode_mask, is_finite
from segline.data.sources import Folder
from segline.data.store import IGNORE, SPLITS, Truth
from segline.errors import DataError
from segline_runtime.masks import extent

_LONGEST_NAME = 200
"""Characters of a category's name."""

_LEAST_IOU = 0.5
"""Of an object's box with that of its mask; below it, the box is none of this object."""

_NEAR = 1.0
"""Pixels; where no edge is farther off, the box is the object's, however small both are."""

_MOST_ARE_THERE = 0.5
"""Share of the listed images that lie in a folder of which the annotations are."""

Box = tuple[float, float, float, float]


class Settings(Folder):
    """Annotation files and image folders in the layout of COCO."""

    format: Literal["coco"] = "coco"
    classes: list[str] | None = None  # the categories that are read, in this order; default: all, in the order of their ids


@dataclass(frozen=True)
class _Annotations:
    """One annotation file."""

    file: str  # relative to the root
    split: str | None
    folders: tuple[str, ...]  # where its images may be, best first
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: dict[int, str]
    licences: tuple[str, ...]


class Coco:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:  # noqa: ARG002
        found: set[Path] = set()
        for part in _annotation_files(root):
            found.add(Path(part.file))
            found.update(file for image in part.images if (file := _image_file(root, part, image)) is not None)
        return sorted(found)

    def read(self, root: Path, settings: Settings) -> SourceData:
        parts = _annotation_files(root)
        names = _class_names(parts, settings.classes)
        if settings.classes is None:
            _no_annotated_background(parts)
        boxes = _only_boxes(parts)
        ids = {name: i for i, name in enumerate(names)}
        records: list[Record] = []
        problems: list[str] = []
        left_out: dict[str, int] = {}
        seen: dict[Path, tuple[Path, str]] = {}  # by where a file really is: its name here, and the annotation file that lists it
        for part in parts:
            by_image = _group(part, problems)
            for image in part.images:
                file = _image_file(root, part, image)
                if file is None:
                    problems.append(
                        f"{part.file} names the image '{brief(image['file_name'])}', which is in none of {name_list(part.folders)}; add it or remove its entry."
                    )
                    continue
                real = (root / file).resolve()
                if real in seen:
                    other, listed = seen[real]
                    before = ("an earlier entry does" if listed == part.file else f"{listed} does") + ("" if other == file else f" ({other}, the same file)")
                    problems.append(f"{part.file} names the image {file.as_posix()}, as {before}; an image belongs to one split, once.")
                    continue
                seen[real] = (file, part.file)
                wanted = []
                for annotation in by_image.get(image["id"], []):
                    name = part.categories[annotation["category_id"]]
                    if name in ids and name != BACKGROUND:
                        wanted.append(annotation)
                    else:
                        left_out[name] = left_out.get(name, 0) + 1
                records.append(Record(file, part.split, _Truth(part, image, file.as_posix(), wanted, ids, boxes)))
        fail(problems)
        licences = list(dict.fromkeys(name for part in parts for name in part.licences))
        licence = "unknown" if not licences else licences[0] if len(licences) == 1 else "several; see `licenses` in the annotation files"
        things = tuple(SourceClass(name, name != BACKGROUND) for name in names)
        truths: tuple[Truth, ...] = ("boxes",) if boxes else ("index", "instances")
        files = tuple(sorted({*(file for file, _ in seen.values()), *(Path(part.file) for part in parts)}))
        return SourceData(things, truths, tuple(records), licence, files, left_out=left_out)

    def recognise(self, tree: Tree) -> Sighting | None:
        try:
            parts = _annotation_files(tree.root)
        except DataError:
            return None
        listed = [(part, image) for part in parts for image in part.images]
        looked = listed[:: max(1, len(listed) // 100)]
        there = sum(_image_file(tree.root, part, image) is not None for part, image in looked) / len(looked)
        categories = {name for part in parts for name in part.categories.values()}
        seen = f"{name_list((part.file for part in parts), 4)} with {len(listed)} images and {len(categories)} categories"
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

    part: _Annotations
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
        redrawn = 0
        for annotation in self.annotations:
            number = brief(annotation.get("id", "(without id)"))
            where = f"{self.part.file}, annotation {number} of {self.shown}"
            mask = None
            try:
                if not self.boxes:
                    mask = decode_mask(annotation.get("segmentation"), size)
                box = None if mask is not None and not annotation.get("bbox") else _box(annotation.get("bbox"), size)
                area = _area(annotation.get("area"))
            except ValueError as error:
                problems.append(f"{where}: {error}.")
                continue
            if not mask.any() if mask is not None else box is None:
                refused.append(Refused(self.shown, f"annotation {number} of {self.part.file} covers no pixel"))
                continue
            label = self.ids[self.part.categories[annotation["category_id"]]]
            crowd = bool(annotation.get("iscrowd"))
            if mask is not None and annotation.get("bbox") and not crowd and not _fits(box, mask):
                box = area = None
                redrawn += 1
            objects.append(SourceObject(label, mask, crowd, box, area))
        fail(problems)
        painted = None if self.boxes else paint(objects, size)
        return SourceTruth(painted, tuple(objects), tuple(refused), {self.part.file: redrawn} if redrawn else {})


def _only_boxes(parts: Sequence[_Annotations]) -> bool:
    """Whether objects were boxed and never outlined: some annotation has a `bbox`, and none a `segmentation`."""
    annotations = [annotation for part in parts for annotation in part.annotations]
    return any(a.get("bbox") for a in annotations) and not any(a.get("segmentation") for a in annotations)


def _box(box: Any, size: tuple[int, int]) -> Box | None:
    """A `bbox` (xywh) cut off at the borders of an image of `size` (height, width); None where nothing is left. Raises ValueError, with a phrase."""
    if not isinstance(box, list) or len(box) != 4 or not all(is_finite(v) for v in box):
        raise ValueError("its `bbox` is not [x, y, width, height]; correct the annotation, or remove it")
    x, y, width, height = (float(v) for v in box)
    left, top, right, bottom = max(0.0, x), max(0.0, y), min(float(size[1]), x + width), min(float(size[0]), y + height)
    if right <= left or bottom <= top:
        return None
    whole = (left, top, right, bottom) == (x, y, x + width, y + height)
    return (x, y, width, height) if whole else (left, top, right - left, bottom - top)


def _area(area: Any) -> float | None:
    """An `area`; None where there is none, or a placeholder. Raises ValueError, with a phrase."""
    if area is None:
        return None
    if not is_finite(area) or area < 0:
        raise ValueError("its `area` is no number of pixels; correct the annotation, or remove its area")
    return area or None


def _fits(box: Box | None, mask: NDArray[np.bool_]) -> bool:
    """Whether a box (xywh) is that of a mask `(H, W)`: as people draw boxes, and objects of few pixels are masked."""
    if box is None:
        return False
    rows, columns = extent(mask)
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    edges = (left - columns.start, top - rows.start, right - columns.stop, bottom - rows.stop)
    if all(abs(edge) <= _NEAR for edge in edges):
        return True
    width, height = min(right, columns.stop) - max(left, columns.start), min(bottom, rows.stop) - max(top, rows.start)
    common = max(width, 0.0) * max(height, 0.0)
    own = (columns.stop - columns.start) * (rows.stop - rows.start)
    return bool(common >= _LEAST_IOU * (box[2] * box[3] + own - common))


def paint(objects: Sequence[SourceObject], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The semantic mask `(H, W)` of objects: crowds as 255 first, then the objects, larger ones first, so that what lies in front stays visible."""
    painted = np.zeros(size, dtype=np.uint8, order="F")  # as pycocotools lays out its masks: copying between unlike orders is slow
    singles: list[tuple[int, NDArray[np.bool_], int]] = []
    for shown in objects:
        assert shown.mask is not None, "only outlined objects can be painted"
        if shown.crowd:
            np.copyto(painted, IGNORE, where=shown.mask)
        else:
            singles.append((int(np.count_nonzero(shown.mask)), shown.mask, shown.label))
    for _, mask, label in sorted(singles, key=lambda single: -single[0]):
        np.copyto(painted, label, where=mask)
    return np.ascontiguousarray(painted)


def _annotation_files(root: Path) -> list[_Annotations]:
    folder = root / "annotations"
    found = sorted(folder.glob("*.json")) if folder.is_dir() else sorted(root.glob("*.json"))
    files = [f for f in found if f.name.startswith("instances")] or found
    if not files:
        raise DataError(f"{root} is not in the coco layout: there is no annotations/instances_<split>.json. Correct data.source or data.format.")
    splits = {f: _split_of(f) for f in files}
    problems = []
    for split in SPLITS:
        several = [f.name for f in files if splits[f] == split]
        if len(several) > 1:
            problems.append(f"{root}: {' and '.join(several)} are both annotations of {split}; keep one of them in the folder.")
    unnamed = [f.name for f in files if splits[f] is None]
    if unnamed and len(files) > 1:
        problems.append(
            f"{root}: the name of {name_list(unnamed)} says no split; call the files instances_train.json, instances_val.json, instances_test.json."
        )
    problems += [f"{root}: the name of {brief(f.name)} is not UTF-8; rename the file." for f in files if not is_text(f.name)]
    fail(problems)
    parts = []
    for file in files:
        try:
            parts.append(_load(root, file, splits[file]))
        except DataError as error:
            problems += error.problems
    fail(problems)
    return parts


def _tag(file: Path) -> str:
    return re.sub(r"^instances?[_-]*", "", file.stem)


def _split_of(file: Path) -> str | None:
    tag = _tag(file).lower()
    return next((split for split in SPLITS if tag.startswith(split)), None)


def _load(root: Path, file: Path, split: str | None) -> _Annotations:
    shown = file.relative_to(root).as_posix()
    try:
        content = json.loads(read_bytes(file, shown))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown} is not valid JSON ({brief(error)}); export the annotations again.") from None
    if not isinstance(content, dict):
        raise DataError(f"{shown} holds no COCO annotations; it must be a mapping with images, annotations and categories.")
    problems = []
    for key, needed in (("images", {"id", "file_name"}), ("annotations", {"image_id", "category_id"}), ("categories", {"id", "name"})):
        entries = content.get(key)
        if not isinstance(entries, list):
            problems.append(f"{shown} has no list '{key}'; COCO annotations need images, annotations and categories.")
        elif not all(isinstance(entry, dict) and needed <= entry.keys() for entry in entries):
            problems.append(f"{shown}: an entry of '{key}' lacks {' or '.join(sorted(needed))}; export the annotations again.")
        elif not all(isinstance(entry[name], int | str) for entry in entries for name in needed - {"category_id"}) or not all(
            isinstance(entry["id" if key == "categories" else "category_id"], int) for entry in entries if key != "images"
        ):
            problems.append(f"{shown}: an id in '{key}' is neither a number nor a text (category ids: a number); export the annotations again.")
    fail(problems)
    categories: dict[int, str] = {}
    for category in content["categories"]:
        number, name = category["id"], str(category["name"])
        if number in categories or name in categories.values():
            problems.append(f"{shown}: the category {brief(number)} '{brief(name)}' is there twice; ids and names of categories must differ.")
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            problems.append(
                f"{shown}: the category {brief(number)} is called '{brief(name)}'; a name has 1 to {_LONGEST_NAME} characters, all of which can be printed."
            )
        categories[number] = name
    for image in content["images"]:
        for side in ("height", "width"):
            if image.get(side) is not None and not (is_finite(image[side]) and image[side] == int(image[side])):
                problems.append(f"{shown}: the {side} of the image '{brief(image['file_name'])}' is '{brief(image[side])}'; it must be a number of pixels.")
    repeated = [i for i, times in Counter(image["id"] for image in content["images"]).items() if times > 1]
    if repeated:
        problems.append(f"{shown}: image ids are not unique ({name_list(repeated)}); give each image its own.")
    if not content["images"]:
        problems.append(f"{shown} lists no images.")
    fail(problems)
    licences = content.get("licenses")
    names = tuple(brief(entry["name"]) for entry in licences if isinstance(entry, dict) and entry.get("name")) if isinstance(licences, list) else ()
    tag = _tag(file)
    folders = dict.fromkeys(name for name in (tag, split) if name)
    folders |= dict.fromkeys(f"images/{name}" for name in list(folders)) | {"images": None, ".": None}
    return _Annotations(shown, split, tuple(folders), content["images"], content["annotations"], categories, names)


def _image_file(root: Path, part: _Annotations, image: dict[str, Any]) -> Path | None:
    """Where an image is, relative to the root; None where it is not, or outside."""
    text = str(image["file_name"])
    name = Path(text.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or not is_text(text):
        return None
    return next((Path(folder) / name for folder in part.folders if is_file(root / folder / name)), None)


def _group(part: _Annotations, problems: list[str]) -> dict[Any, list[dict[str, Any]]]:
    """The annotations by image id; adds a sentence for each that points nowhere, or does not say whether it is a crowd."""
    by_image: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in part.images}
    for annotation in part.annotations:
        where = f"{part.file}, annotation {brief(annotation.get('id', '(without id)'))}"
        image, category, crowd = annotation["image_id"], annotation["category_id"], annotation.get("iscrowd")
        if image not in by_image:
            problems.append(f"{where} belongs to the image {brief(image)}, which the file does not list; add the image or remove the annotation.")
        elif category not in part.categories:
            problems.append(f"{where} is of the category {brief(category)}, which the file does not list; known are {name_list(part.categories)}.")
        elif crowd is not None and (not isinstance(crowd, int | float) or crowd not in (0, 1)):
            problems.append(f"{where} has the `iscrowd` {brief(json.dumps(crowd))}; it must be the number 0 or 1 (a group that nobody took apart).")
        else:
            by_image[image].append(annotation)
    return by_image


def _no_annotated_background(parts: Sequence[_Annotations]) -> None:
    """Raises DataError when objects are annotated as background, which is what no object covers."""
    problems = []
    for part in parts:
        number = sum(part.categories.get(annotation["category_id"]) == BACKGROUND for annotation in part.annotations)
        if number:
            problems.append(
                f"{part.file}: {number} annotations are of the category '{BACKGROUND}', which is what no object covers; "
                "rename the category, remove its annotations, or name the categories that you want in data.classes."
            )
    fail(problems)


def _class_names(parts: Sequence[_Annotations], classes: Sequence[str] | None) -> list[str]:
    """Class names by id; the background is 0."""
    first: dict[str, int] = {}
    for part in parts:
        for identifier, name in part.categories.items():
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
    return [BACKGROUND, *names]
