"""The COCO layout: `annotations/instances_<split>*.json` and image folders of the same name.

The images of `instances_train2017.json` are looked for in `train2017/`, `train/`, `images/train2017/`, `images/train/`, `images/` and the root, in this order.
An annotation file whose name says no split is divided by `data.splits`. Masks are polygons or RLE, compressed or not; `iscrowd` groups are kept as such and
are ignored in the semantic mask. Category ids are sparse: here they become 1…n in the order of the ids, and 0 is the background.
With `data.classes`, only the named categories are read, in that order; the objects of the others count as background.
Where no annotation at all has a `segmentation`, the boxes are the truth, and there are no masks.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segline.data.check import Frame, Refused, check_size, fail, name_list, read_bytes
from segline.data.formats.base import BACKGROUND, MOST_CLASSES, Record, SourceClass, SourceData, SourceObject, SourceTruth, check_class_names
from segline.data.masks import decode_mask
from segline.data.sources import Folder
from segline.data.store import IGNORE, SPLITS, Truth
from segline.errors import DataError

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
        boxes = _only_boxes(parts)
        ids = {name: i for i, name in enumerate(names)}
        records: list[Record] = []
        problems: list[str] = []
        left_out: dict[str, int] = {}
        seen: dict[Path, str] = {}
        for part in parts:
            by_image = _group(part, problems)
            for image in part.images:
                file = _image_file(root, part, image)
                if file is None:
                    problems.append(
                        f"{part.file} names the image '{image['file_name']}', which is in none of {name_list(part.folders)}; add it or remove its entry."
                    )
                    continue
                if file in seen:
                    before = "an earlier entry does" if seen[file] == part.file else f"{seen[file]} does"
                    problems.append(f"{part.file} names the image {file.as_posix()}, as {before}; an image belongs to one split, once.")
                    continue
                seen[file] = part.file
                wanted = []
                for annotation in by_image.get(image["id"], []):
                    name = part.categories[annotation["category_id"]]
                    if name in ids:
                        wanted.append(annotation)
                    else:
                        left_out[name] = left_out.get(name, 0) + 1
                records.append(Record(file, part.split, _Truth(part, image, file.as_posix(), wanted, ids, boxes)))
        fail(problems)
        licences = list(dict.fromkeys(name for part in parts for name in part.licences))
        licence = "unknown" if not licences else licences[0] if len(licences) == 1 else "several; see `licenses` in the annotation files"
        things = tuple(SourceClass(name, name != BACKGROUND) for name in names)
        truths: tuple[Truth, ...] = ("boxes",) if boxes else ("index", "instances")
        files = tuple(sorted({*seen, *(Path(part.file) for part in parts)}))
        return SourceData(things, truths, tuple(records), licence, files, left_out=left_out)


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
        objects: list[SourceObject] = []
        refused: list[Refused] = []
        problems: list[str] = []
        for annotation in self.annotations:
            where = f"{self.part.file}, annotation {annotation.get('id', '(without id)')} of {self.shown}"
            mask, box = None, None
            try:
                if self.boxes:
                    box = _box(annotation.get("bbox"), size)
                else:
                    mask = decode_mask(annotation.get("segmentation"), size)
            except ValueError as error:
                problems.append(f"{where}: {error}.")
                continue
            if box is None and (mask is None or not mask.any()):
                refused.append(Refused(self.shown, f"annotation {annotation.get('id', '(without id)')} of {self.part.file} covers no pixel"))
                continue
            label = self.ids[self.part.categories[annotation["category_id"]]]
            objects.append(SourceObject(label, mask, bool(annotation.get("iscrowd", 0)), box))
        fail(problems)
        return SourceTruth(None if self.boxes else paint(objects, size), tuple(objects), tuple(refused))


def _only_boxes(parts: Sequence[_Annotations]) -> bool:
    """Whether objects were boxed and never outlined: some annotation has a `bbox`, and none a `segmentation`."""
    annotations = [annotation for part in parts for annotation in part.annotations]
    return any(a.get("bbox") for a in annotations) and not any(a.get("segmentation") for a in annotations)


def _box(box: Any, size: tuple[int, int]) -> Box | None:
    """A `bbox` (xywh) cut off at the borders of an image of `size` (height, width); None where nothing is left. Raises ValueError, with a phrase."""
    numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) and not isinstance(v, bool) and np.isfinite(v) for v in box)
    if not numbers:
        raise ValueError("it has no `segmentation`, and its `bbox` is not [x, y, width, height]; correct the annotation, or remove it")
    x, y, width, height = (float(v) for v in box)
    left, top, right, bottom = max(0.0, x), max(0.0, y), min(float(size[1]), x + width), min(float(size[0]), y + height)
    return (left, top, right - left, bottom - top) if right > left and bottom > top else None


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
        raise DataError(f"{shown} is not valid JSON ({error}); export the annotations again.") from None
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
        name = str(category["name"])
        if category["id"] in categories or name in categories.values():
            problems.append(f"{shown}: the category {category['id']} '{name}' is there twice; ids and names of categories must differ.")
        categories[category["id"]] = name
    repeated = [i for i, times in Counter(image["id"] for image in content["images"]).items() if times > 1]
    if repeated:
        problems.append(f"{shown}: image ids are not unique ({name_list(repeated)}); give each image its own.")
    if not content["images"]:
        problems.append(f"{shown} lists no images.")
    fail(problems)
    licences = content.get("licenses")
    names = tuple(str(entry["name"]) for entry in licences if isinstance(entry, dict) and entry.get("name")) if isinstance(licences, list) else ()
    tag = _tag(file)
    folders = dict.fromkeys(name for name in (tag, split) if name)
    folders |= dict.fromkeys(f"images/{name}" for name in list(folders)) | {"images": None, ".": None}
    return _Annotations(shown, split, tuple(folders), content["images"], content["annotations"], categories, names)


def _image_file(root: Path, part: _Annotations, image: dict[str, Any]) -> Path | None:
    """Where an image is, relative to the root; None where it is not, or outside."""
    name = Path(str(image["file_name"]).replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts:
        return None
    return next((Path(folder) / name for folder in part.folders if (root / folder / name).is_file()), None)


def _group(part: _Annotations, problems: list[str]) -> dict[Any, list[dict[str, Any]]]:
    """The annotations by image id; adds a sentence for each that points nowhere."""
    by_image: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in part.images}
    for annotation in part.annotations:
        where = f"{part.file}, annotation {annotation.get('id', '(without id)')}"
        if annotation["image_id"] not in by_image:
            problems.append(f"{where} belongs to the image {annotation['image_id']}, which the file does not list; add the image or remove the annotation.")
        elif annotation["category_id"] not in part.categories:
            problems.append(f"{where} is of the category {annotation['category_id']}, which the file does not list; known are {name_list(part.categories)}.")
        else:
            by_image[annotation["image_id"]].append(annotation)
    return by_image


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
                near = difflib.get_close_matches(name, first, n=1)
                problems.append(
                    f"data.classes: the annotations have no category '{name}'"
                    + (f"; did you mean '{near[0]}'?" if near else f"; they have {name_list(first)}.")
                )
        fail(problems)
    if not names:
        raise DataError("The annotation files list no categories; there is nothing to learn.")
    if len(names) >= MOST_CLASSES:
        raise DataError(f"The annotations have {len(names)} categories; at most {MOST_CLASSES - 1} and the background fit in an 8-bit mask. Please {hint}.")
    return [BACKGROUND, *names]
