"""YOLO: `data.yaml` and, for each image, a text file of its objects, one in a line: the number of its class and a polygon (x y x y …), or a box (x y width
height, of which x, y is the middle), in shares of the image's width and height.

`train`, `val` and `test` of data.yaml are folders of images, text files that list images, or lists of these, relative to `path`, or to data.yaml; leading
`..` are passed over, as exports have them that lead out of their own folder. The text file of `…/images/…/a.jpg` is `…/labels/…/a.txt`, or `a.txt` beside it.
An image without a text file shows nothing. A split that names the same images as another is none of its own (COCO128 is its own validation).
Without data.yaml, every image that has a text file is read, and `classes.txt` (or obj.names) holds the names. Where objects overlap, the smaller one is seen.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from segline import plain_yaml
from segline.data.check import brief, fail, name_list
from segline.data.formats.base import Sighting, SourceData
from segline.data.masks import Box, Outline, Shape
from segline.data.reading.drawn import Drawing, DrawnObject, Named, source_of
from segline.data.reading.lookup import Folders, split_of
from segline.data.reading.tree import Tree
from segline.data.reading.typed import text_of
from segline.data.store import SPLITS
from segline.errors import DataError, ParametersError

_NAMES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
"""Files that hold class names, one in a line."""

_KEYS = frozenset({*SPLITS, "valid"})
"""Of data.yaml: what names images."""

_FAR = (-1.0, 2.0)
"""Shares of the image that an object may reach out to; beyond, the numbers are pixels."""

_MOST_SHOWN = 5
"""Sentences about one text file."""


class Settings(Named):
    """data.yaml with images and text files, as YOLO reads them."""

    format: Literal["yolo"] = "yolo"


@dataclass(frozen=True)
class _Listed:
    """What data.yaml says, or the folder where there is none."""

    images: dict[PurePosixPath, str | None]  # with their split
    names: dict[int, str] | None
    files: tuple[PurePosixPath, ...]  # that were read to know it


class Yolo:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        return list(self.read(root, settings).files)

    def read(self, root: Path, settings: Settings) -> SourceData:
        folders = Folders(root)
        listed = _listed(root, folders)
        texts = {image: text for image in listed.images if (text := _text_of(folders, image)) is not None}
        if not texts:
            raise DataError(
                f"{root} is not in the yolo layout: none of {len(listed.images)} images has a text file of objects (labels/<name>.txt for images/<name>.jpg). "
                "Correct data.source or data.format."
            )
        drawings: list[Drawing] = []
        problems: list[str] = []
        numbers: set[int] = set()
        for image, split in listed.images.items():
            text = texts.get(image)
            found: list[tuple[int, Shape, int]] = []
            if text is not None:
                try:
                    found = list(_objects(text_of(root, text), text, listed.names))
                except DataError as error:
                    problems += error.problems
                    continue
            numbers |= {number for number, _, _ in found}
            objects = tuple(DrawnObject(_name(listed.names, number), (shape,), f"line {line}") for number, shape, line in found)
            drawings.append(Drawing(image, split, (text or image).as_posix(), objects, None))
        known = listed.names if listed.names is not None else {number: _name(None, number) for number in sorted(numbers)}
        problems += [f"The class name '{brief(name)}' is there twice; class names must differ." for name in _repeated(list(known.values()))]
        files = [*listed.files, *texts.values()]
        return source_of(root, drawings, settings.classes, files=files, listed=[known[i] for i in sorted(known)], problems=problems)

    def recognise(self, tree: Tree) -> Sighting | None:
        for file in tree.of_type(".yaml", ".yml"):
            text = tree.text(file) or ""
            if "names" in text and "train" in text and tree.of_type(".txt"):
                return Sighting(0.9, {}, f"{file}, and text files of objects, as YOLO reads them")
        names = [file for file in tree.files if file.name in _NAMES[:3]]
        stems = {file.stem for file in tree.images}
        texts = [file for file in tree.of_type(".txt") if file.name not in _NAMES and file.stem in stems]
        if texts and _numbers_only(tree.text(texts[0]) or ""):
            return Sighting(0.8 if names else 0.6, {}, f"{texts[0]} and {len(texts) - 1} more text files of objects, as YOLO reads them")
        return None


FORMAT = Yolo()


def _numbers_only(text: str) -> bool:
    """Whether the first line of a text is a class and a box or polygon."""
    words = text.split("\n", 1)[0].split()
    try:
        values = [float(word) for word in words]
    except ValueError:
        return False
    return len(values) >= 5 and len(values) % 2 == 1 and all(_FAR[0] <= value <= _FAR[1] for value in values[1:])


def _listed(root: Path, folders: Folders) -> _Listed:
    found = []
    for file in folders.of_type(".yaml", ".yml"):
        content = _yaml(root, file)
        if isinstance(content, dict) and "names" in content and _KEYS & content.keys():
            found.append((file, content))
        elif file.name in ("data.yaml", "data.yml"):
            raise DataError(f"{file} does not say what YOLO needs: the names of the classes (names), and folders of images (train, val). Export it again.")
    if len(found) > 1:
        raise DataError(f"{root} holds several files of YOLO's ({name_list(file for file, _ in found)}); keep one of them in the folder.")
    if found:
        return _by_yaml(root, folders, *found[0])
    files = [file for file in folders.files if file.name in _NAMES]
    names = {}
    if files:
        lines = [line.strip() for line in text_of(root, files[0]).splitlines()]
        names = dict(enumerate(line for line in lines if line))
    return _Listed({image: split_of(image) for image in folders.images if _text_of(folders, image) is not None}, names or None, tuple(files[:1]))


def _yaml(root: Path, file: PurePosixPath) -> Any:
    """None for what is no YAML of plain values, as other tools' files are."""
    text = text_of(root, file)
    try:
        return plain_yaml.parse(text, file.as_posix())
    except ParametersError as error:
        if "names" in text and "train" in text:
            raise DataError(*error.problems) from None
        return None


def _by_yaml(root: Path, folders: Folders, file: PurePosixPath, content: dict[Any, Any]) -> _Listed:
    names = _class_names(content["names"], file)
    images: dict[str, list[PurePosixPath]] = {}
    read = [file]
    problems: list[str] = []
    base = content.get("path")
    for split, key in (("train", "train"), ("val", "val"), ("val", "valid"), ("test", "test")):
        value = content.get(key)
        entries = value if isinstance(value, list) else [] if value in (None, "") else [value]
        for entry in entries:
            if not isinstance(entry, str):
                problems.append(f"{file}: {key} holds {brief(entry)}, which is no path; name folders of images, or text files that list them.")
                continue
            place = _place(folders, file, base if isinstance(base, str) else "", entry)
            if place is None and key == "test":
                continue  # exports name a test folder that they do not have
            if place is None:
                problems.append(f"{file}: {key} is '{brief(entry)}', and there is no such folder or list; correct the path, relative to {file.name}.")
            elif folders.has(place):
                read.append(place)
                images.setdefault(split, []).extend(_of_list(root, folders, place, problems))
            else:
                images.setdefault(split, []).extend(image for image in folders.images if place in image.parents)
    fail(problems)
    found: dict[PurePosixPath, str | None] = {}
    kept: list[set[PurePosixPath]] = []
    for split, several in images.items():
        if set(several) in kept:
            continue
        kept.append(set(several))
        for image in several:
            if found.setdefault(image, split) != split:
                problems.append(f"{file}: the image {image} is in {found[image]} and in {split}; an image belongs to one split, once.")
    fail(problems)
    if not found:
        raise DataError(f"{file} names no folder that holds images. Correct its paths, or data.source.")
    return _Listed(found, names, tuple(read))


def _place(folders: Folders, file: PurePosixPath, base: str, entry: str) -> PurePosixPath | None:
    """The folder or list that an entry of data.yaml means; None where there is none."""
    there = {parent for known in folders.files for parent in known.parents}
    words = entry.replace("\\", "/").rstrip("/")
    inside = "/".join(part for part in PurePosixPath(words).parts if part not in ("..", "/", "."))
    for start in (file.parent / base, file.parent, PurePosixPath()):
        for end in (words, inside):
            place = PurePosixPath(posixpath.normpath((start / end).as_posix()))
            if place in there or (folders.has(place) and place.suffix.lower() == ".txt"):
                return place
    parts = PurePosixPath(words).parts  # of another machine: by as many of its folders as are the same
    alike = [place for place in there if place.parts and place.parts == parts[-len(place.parts) :]]
    return max(alike, key=lambda place: len(place.parts), default=None)


def _of_list(root: Path, folders: Folders, file: PurePosixPath, problems: list[str]) -> Iterator[PurePosixPath]:
    """The images that a text file lists, one in a line."""
    for number, line in enumerate(text_of(root, file).splitlines(), start=1):
        if line.strip():
            try:
                yield folders.image(line.strip(), file.parent)
            except ValueError as error:
                problems.append(f"{file}, line {number}, {error}.")


def _class_names(names: Any, file: PurePosixPath) -> dict[int, str]:
    """Class names by number. Raises DataError."""
    pairs = list(enumerate(names)) if isinstance(names, list) else list(names.items()) if isinstance(names, dict) else []
    found: dict[int, str] = {}
    for number, name in pairs:
        if isinstance(number, str) and number.isdecimal() and len(number) < 6:
            number = int(number)
        if not isinstance(number, int) or isinstance(name, list | dict | None):
            raise DataError(f"{file}: names has the entry {brief(number)}: {brief(name)}; it must be a list of names, or numbers with a name each.")
        found[number] = str(name)
    if not found:
        raise DataError(f"{file}: names is {brief(names)}; it must be a list of class names, or numbers with a name each.")
    return found


def _text_of(folders: Folders, image: PurePosixPath) -> PurePosixPath | None:
    """The text file of an image."""
    parts = list(image.parts)
    for i in reversed(range(len(parts) - 1)):
        if parts[i] == "images":
            text = PurePosixPath(*parts[:i], "labels", *parts[i + 1 :]).with_suffix(".txt")
            if folders.has(text):
                return text
            break
    beside = image.with_suffix(".txt")
    return beside if folders.has(beside) and beside.name not in _NAMES else None


def _objects(text: str, file: PurePosixPath, names: dict[int, str] | None) -> Iterator[tuple[int, Shape, int]]:
    """The class number, shape and line of each object. Raises DataError."""
    problems: list[str] = []
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            label = _label(words[0], names)
            found.append((label, _shape(words[1:]), number))
        except ValueError as error:
            problems.append(f"{file}, line {number}: {error}.")
    if len(problems) > _MOST_SHOWN:
        problems = [*problems[:_MOST_SHOWN], f"{file}: … and {len(problems) - _MOST_SHOWN} more lines like these."]
    fail(problems)
    yield from found


def _label(word: str, names: dict[int, str] | None) -> int:
    """Raises ValueError, with a phrase."""
    digits = word.removesuffix(".0").removesuffix(".")
    if not digits.isdecimal() or len(digits) > 5:
        raise ValueError(f"its class is {brief(repr(word))}, and must be the number of a class, from 0 on")
    if names is not None and int(digits) not in names:
        raise ValueError(f"there is no class {digits}; the names go from {min(names)} to {max(names)}. Add its name, or remove the line")
    return int(digits)


def _shape(words: Sequence[str]) -> Shape:
    """Raises ValueError, with a phrase."""
    try:
        values = np.array([float(word) for word in words], dtype=np.float64)
    except ValueError:
        raise ValueError("it holds what is no number; write the number of the class, and numbers between 0 and 1") from None
    if not np.isfinite(values).all():
        raise ValueError("it holds what is no number (nan or inf); write the number of the class, and numbers between 0 and 1")
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise ValueError(f"it has {len(values)} numbers behind the class; a box has 4, and a polygon 2 for each of at least 3 points")
    if values.min() < _FAR[0] or values.max() > _FAR[1]:
        raise ValueError("its numbers are no shares of the image's sides, between 0 and 1; divide x by the width and y by the height")
    if len(values) == 4:
        x, y, width, height = (float(value) for value in values)
        if width < 0 or height < 0:
            raise ValueError("its box has a negative side; write x y width height")
        return Box(x - width / 2, y - height / 2, width, height, relative=True)
    return Outline(values.reshape(-1, 2), relative=True)


def _name(names: dict[int, str] | None, number: int) -> str:
    return f"class{number}" if names is None else names[number]


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
