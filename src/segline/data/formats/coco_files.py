"""The annotation files of a COCO source: which of the JSON files they are, what they hold, and where their images lie."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from segline.data.check import brief, fail, is_file, name_list, read_bytes
from segline.data.formats.base import is_text
from segline.data.masks import is_finite
from segline.data.reading.lookup import Folders, split_of, split_word
from segline.data.store import SPLITS
from segline.errors import DataError

Kind = Literal["instances", "panoptic", "stuff"]

KINDS: tuple[Kind, ...] = ("instances", "panoptic", "stuff")
"""In the order in which they are taken where several are there."""

_OTHERS = ("captions", "person_keypoints", "image_info")
"""What annotation files of COCO's that hold nothing for segmentation are called."""

_LONGEST_NAME = 200
"""Characters of a category's name."""

_NO_PARENT = "none"
"""What Roboflow writes as the supercategory of a category that only holds the others."""


@dataclass(frozen=True)
class Annotations:
    """One annotation file."""

    file: str  # relative to the root
    kind: Kind
    split: str | None
    folders: tuple[str, ...]  # where its images may be, best first
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: dict[int, str]
    stuff: frozenset[int]  # ids of categories that are no things
    holders: frozenset[str]  # names of categories that only hold the others
    licences: tuple[str, ...]


def annotation_files(root: Path, folders: Folders, wanted: Kind | None) -> list[Annotations]:
    """The annotation files of one kind, `wanted` or the first that is there. Raises DataError with all problems of all files."""
    found = _candidates(root, folders)
    named = {file: kind for file in found if (kind := _named(file)) is not None}
    files = found
    if named:
        kind = wanted or next(kind for kind in KINDS if kind in named.values())
        files = [file for file in named if named[file] == kind]
    if not files:
        what = "instances" if wanted is None else wanted
        raise DataError(
            f"{root} is not in the coco layout: there is no annotations/{what}_<split>.json, and no other JSON file with images, annotations and categories. "
            "Correct data.source or data.format."
        )
    splits = {file: _split_of(file) for file in files}
    problems = []
    for split in SPLITS:
        several = [file.name for file in files if splits[file] == split]
        if len(several) > 1:
            problems.append(f"{root}: {' and '.join(several)} are both annotations of {split}; keep one of them in the folder.")
    unnamed = [file.name for file in files if splits[file] is None]
    if unnamed and len(unnamed) < len(files):
        problems.append(
            f"{root}: the name of {name_list(unnamed)} says no split, and others do; call all files instances_train.json, instances_val.json, "
            "instances_test.json, or none of them."
        )
    problems += [f"{root}: the name of {brief(file.name)} is not UTF-8; rename the file." for file in files if not is_text(file.name)]
    fail(problems)
    parts = []
    for file in files:
        try:
            parts.append(_load(root, file, splits[file], named.get(file)))
        except DataError as error:
            problems += error.problems
    fail(problems)
    kinds = {part.kind for part in parts}
    if len(kinds) > 1 or (wanted is not None and kinds != {wanted}):
        raise DataError(
            f"{root}: the annotation files are of the kinds {name_list(sorted(kinds))}; set data.annotations to one that is there, or remove the others."
        )
    return parts


def _candidates(root: Path, folders: Folders) -> list[PurePosixPath]:
    """JSON files in annotations/, else in the root, else anywhere, that are called as COCO's are, or look so. Where none is, what lies nearest: the reader
    tells what is wrong with it."""
    folder = root / "annotations"
    nearest = [PurePosixPath(file.relative_to(root).as_posix()) for file in sorted((folder if folder.is_dir() else root).glob("*.json"))]

    def annotations(places: Sequence[PurePosixPath]) -> list[PurePosixPath]:
        return [file for file in places if not file.name.startswith(_OTHERS) and (_named(file) is not None or _looks_so(root, file))]

    # All files of the folder are listed where none is found without: there are many images.
    return annotations(nearest) or annotations(folders.of_type(".json")) or nearest


def _looks_so(root: Path, file: PurePosixPath) -> bool:
    try:
        content = read_bytes(root / file, file.as_posix())
    except DataError:
        return True  # the reader tells what is wrong with it
    return all(word in content for word in (b'"images"', b'"annotations"', b'"categories"'))


def _named(file: PurePosixPath) -> Kind | None:
    return next((kind for kind in KINDS if file.name.startswith(kind)), None)


def _tag(file: PurePosixPath) -> str:
    return re.sub(r"^(instances?|panoptic|stuff)[_-]*", "", file.stem)


def _split_of(file: PurePosixPath) -> str | None:
    """The split that a file's name tells, or the folder that it lies in."""
    tag = _tag(file).lower()
    plain = next((split for split in SPLITS if tag.startswith(split)), None)
    words = [split for word in re.split(r"[^a-z0-9]+", tag) if (split := split_word(word)) is not None]
    return plain or next(iter(words), None) or split_of(file)


def _load(root: Path, file: PurePosixPath, split: str | None, kind: Kind | None) -> Annotations:
    shown = file.as_posix()
    try:
        content = json.loads(read_bytes(root / file, shown))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown} is not valid JSON ({brief(error)}); export the annotations again.") from None
    if not isinstance(content, dict):
        raise DataError(f"{shown} holds no COCO annotations; it must be a mapping with images, annotations and categories.")
    annotations = content.get("annotations")
    if kind is None:
        segmented = isinstance(annotations, list) and any(isinstance(one, dict) and "segments_info" in one for one in annotations)
        kind = "panoptic" if segmented else "instances"
    problems = []
    own = {"image_id", "file_name", "segments_info"} if kind == "panoptic" else {"image_id", "category_id"}
    for key, needed in (("images", {"id", "file_name"}), ("annotations", own), ("categories", {"id", "name"})):
        entries = content.get(key)
        if not isinstance(entries, list):
            problems.append(f"{shown} has no list '{key}'; COCO annotations need images, annotations and categories.")
        elif not all(isinstance(entry, dict) and needed <= entry.keys() for entry in entries):
            problems.append(f"{shown}: an entry of '{key}' lacks {' or '.join(sorted(needed))}; export the annotations again.")
        elif not all(isinstance(entry[name], int | str) for entry in entries for name in needed - {"category_id", "segments_info"}) or not all(
            isinstance(entry["id" if key == "categories" else "category_id"], int) for entry in entries if key != "images" and "segments_info" not in needed
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
    stuff = frozenset(category["id"] for category in content["categories"] if kind == "stuff" or category.get("isthing") == 0)
    return Annotations(
        shown, kind, split, _image_folders(file, split), content["images"], content["annotations"], categories, stuff, _holders(content["categories"]), names
    )


def _image_folders(file: PurePosixPath, split: str | None) -> tuple[str, ...]:
    """Folders that the images of an annotation file may be in, best first."""
    folders = dict.fromkeys(name for name in (_tag(file), split) if name)
    folders |= dict.fromkeys(f"images/{name}" for name in list(folders)) | {"images": None, ".": None}
    beside = file.parent.as_posix()
    return tuple(folders if beside in (".", "annotations") else {beside: None, f"{beside}/images": None} | folders)


def _holders(categories: Sequence[dict[str, Any]]) -> frozenset[str]:
    """Categories without a supercategory that are the supercategory of all others."""
    found = set()
    for category in categories:
        others = {str(other.get("supercategory")) for other in categories if other is not category}
        if category.get("supercategory") == _NO_PARENT and others == {str(category["name"])}:
            found.add(str(category["name"]))
    return frozenset(found)


def image_file(root: Path, folders: Folders, part: Annotations, image: dict[str, Any]) -> Path:
    """Where an image is, relative to the root. Raises ValueError, with a phrase."""
    text = str(image["file_name"])
    name = Path(text.replace("\\", "/"))
    if is_text(text) and not name.is_absolute() and ".." not in name.parts:
        for folder in part.folders:
            if is_file(root / folder / name):
                return Path(folder) / name
    try:
        return Path(folders.image(text, PurePosixPath(part.file).parent))
    except ValueError as error:
        if "may be any of" in str(error):
            raise
    raise ValueError(f"names the image '{brief(text)}', which is in none of {name_list(part.folders)}, nor anywhere else; add it or remove its entry")


def by_image(part: Annotations, problems: list[str]) -> dict[Any, list[dict[str, Any]]]:
    """The annotations by image id; adds a sentence for each that points nowhere, or does not say whether it is a crowd."""
    found: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in part.images}
    for annotation in part.annotations:
        where = f"{part.file}, annotation {brief(annotation.get('id', '(without id)'))}"
        image = annotation["image_id"]
        if image not in found:
            problems.append(f"{where} belongs to the image {brief(image)}, which the file does not list; add the image or remove the annotation.")
        elif part.kind == "panoptic":
            segments = annotation["segments_info"]
            if not isinstance(segments, list) or not all(isinstance(segment, dict) and _is_segment(segment) for segment in segments):
                problems.append(f"{where}: its segments_info is no list of segments with an id (a number) and a category_id; export the annotations again.")
                continue
            wrong = [sentence for segment in segments if (sentence := _wrong(part, segment, f"{where}, segment {brief(segment['id'])}")) is not None]
            problems += wrong
            found[image] += [] if wrong else [annotation]
        elif (sentence := _wrong(part, annotation, where)) is not None:
            problems.append(sentence)
        else:
            found[image].append(annotation)
    return found


def _is_segment(segment: dict[str, Any]) -> bool:
    return "category_id" in segment and isinstance(segment.get("id"), int)


def _wrong(part: Annotations, one: dict[str, Any], where: str) -> str | None:
    """What is wrong with the category or the crowd of an annotation or segment."""
    category, crowd = one["category_id"], one.get("iscrowd")
    if not isinstance(category, int) or category not in part.categories:
        return f"{where} is of the category {brief(category)}, which the file does not list; known are {name_list(part.categories)}."
    if crowd is not None and (not isinstance(crowd, int | float) or crowd not in (0, 1)):
        return f"{where} has the `iscrowd` {brief(json.dumps(crowd))}; it must be the number 0 or 1 (a group that nobody took apart)."
    return None
