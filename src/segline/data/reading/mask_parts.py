"""Several masks of one image: one for each class (`masks/{name}_{class}.png`), or for each object (`{name}/masks/{object}.png`), or both.

A mask of a class is 0 and one other value; with `instances: true` its values are the numbers of the class's objects. A mask of an object is 0 and one other
value, too. Where they overlap, the smaller one is seen; objects stay whole.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from segline.choices import nearest
from segline.data.check import Frame, Refused, check_size, fail, name_list
from segline.data.formats.base import BACKGROUND, SourceObject, SourceTruth, check_class_names
from segline.data.reading.painting import covered_pixels, layered
from segline.data.reading.pairing import MASK_WORDS, NO_MASKS, PARTS, Group, Key, Pattern, groups_of
from segline.data.reading.pixel_values import read_values
from segline.data.reading.tree import Tree
from segline.data.store import IGNORE
from segline.errors import DataError

ONLY = "object"
"""The class of objects whose class nobody named."""

_Image = tuple[str | None, str]
"""Split and name."""

_HALF = 128
"""With `nearest: true`, what is at least as white belongs to the mask."""

_GLANCED = 60
"""Files of a folder by which it is seen at once that they are no masks of another's images."""

_LOOKED_AT = 8
"""Masks that are looked into."""

_MOST_CLASSES = 64
_MATCHED = 0.9
"""Share of the masks that must have an image."""

_SEVERAL = 0.2
"""Share of the images that must have more than one mask."""

_NUMBER_WORDS = ("mask", "object", "obj", "instance", "inst", "cell", "nucleus", "n")
"""What may stand before the number of an object."""


def tells_parts(pattern: str | None) -> bool:
    """Whether a pattern of masks finds several for one image."""
    return pattern is not None and any(f"{{{word}}}" in pattern for word in PARTS)


@dataclass(frozen=True)
class Part:
    """One of the masks of an image."""

    file: PurePosixPath
    name: str | None  # of its class, where the pattern has {class}


@dataclass(frozen=True)
class Parts:
    """What two patterns find. Keys are split and name."""

    images: dict[_Image, PurePosixPath]
    masks: dict[_Image, tuple[Part, ...]]
    alone: tuple[PurePosixPath, ...]  # masks of no image

    @property
    def common(self) -> list[_Image]:
        return [key for key in self.images if key in self.masks]

    def files(self) -> list[Path]:
        found = {Path(self.images[key]) for key in self.common}
        return sorted(found | {Path(part.file) for key in self.common for part in self.masks[key]})


def parts_of(files: Sequence[PurePosixPath], images: Pattern, masks: Pattern) -> Parts:
    """A file that is a mask of some image is no image. Raises DataError where two images have one name."""
    named: dict[_Image, PurePosixPath] = {}
    doubled: list[str] = []
    for file in files:
        key = images.match(file)
        if key is not None and named.setdefault(key, file) != file and masks.match(file) is None:
            doubled.append(f"{named[key]} and {file} have one name; rename one, or name the file type in data.image_files.")
    fail(doubled)
    found: dict[_Image, list[Part]] = defaultdict(list)
    alone: list[PurePosixPath] = []
    used: set[PurePosixPath] = set()
    for file in files:
        part = masks.part(file, named)
        if part is not None and named[part[0]] != file:
            found[part[0]].append(Part(file, part[1]))
            used.add(file)
        elif masks.match(file) is not None and images.match(file) is None:
            alone.append(file)
    pictures = {key: file for key, file in named.items() if file not in used}
    return Parts(pictures, {key: tuple(parts) for key, parts in found.items() if key in pictures}, tuple(alone))


def class_names(parts: Parts, chosen: Sequence[str] | None, *, by_class: bool) -> tuple[str, ...]:
    """Class names by id, the background first. Raises DataError."""
    there = sorted({part.name for several in parts.masks.values() for part in several if part.name is not None})
    if not by_class:
        names = list(chosen) if chosen is not None else [BACKGROUND, ONLY]
        if len(names) != 2:
            raise DataError("data.classes: with {object} and without {class} there are two classes, the background and one kind of object; list two names.")
        check_class_names(names)
        return tuple(names)
    if chosen is not None:
        check_class_names(chosen)
        named = [name for name in chosen if name != BACKGROUND]
        problems = []
        for name in named:
            if name not in there:
                near = nearest(name, there)
                hint = f"did you mean '{near}'?" if near else f"there are {name_list(there)}."
                problems.append(f"data.classes: no mask is of the class '{name}'; {hint}")
        fail(problems)
    else:
        named = [name for name in there if name != BACKGROUND]
    if not named:
        raise DataError("No mask names a class but the background; correct data.mask_files, in which {class} is the name of a mask's class.")
    check_class_names([BACKGROUND, *named])
    return (BACKGROUND, *named)


@dataclass(frozen=True)
class PartsTruth:
    """Loads the masks of one image."""

    root: Path
    parts: tuple[Part, ...]
    image: str
    names: tuple[str, ...]
    single: bool  # each mask is one object
    instances: bool  # the values of a mask are numbers of objects
    ignored: frozenset[int]
    nearest: bool

    def __call__(self, frame: Frame) -> SourceTruth:
        size = (frame.height, frame.width)
        layers: list[tuple[NDArray[np.bool_], int]] = []
        objects: list[SourceObject] = []
        refused: list[Refused] = []
        problems: list[str] = []
        void = np.zeros(size, dtype=np.bool_)
        for part in self.parts:
            label = 1 if part.name is None else self.names.index(part.name) if part.name in self.names else 0
            if label == 0:
                continue  # a class that data.classes leaves out, or the background
            try:
                masks = self._masks(part, frame, void)
            except DataError as error:
                problems += error.problems
                continue
            if self.single and not masks:
                refused.append(Refused(self.image, f"the mask {part.file} covers no pixel"))
            layers += [(mask, label) for mask in masks]
            objects += [SourceObject(label, mask) for mask in masks]
        fail(problems)
        layers.sort(key=lambda layer: -covered_pixels(layer[0]))
        painted = layered(layers, size)
        painted[void] = IGNORE
        return SourceTruth(painted, tuple(objects) if self.single or self.instances else (), tuple(refused))

    def _masks(self, part: Part, frame: Frame, void: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
        """What a mask shows; adds to `void` what it ignores. Raises DataError."""
        shown = part.file.as_posix()
        values = read_values(self.root / part.file, shown, colours=False)
        check_size((values.shape[0], values.shape[1]), frame, f"The mask {shown}", self.image)
        if self.nearest:
            return [values >= _HALF] if (values >= _HALF).any() else []
        void |= np.isin(values, list(self.ignored))
        numbers = [int(value) for value in np.unique(values) if value != 0 and int(value) not in self.ignored]
        if self.instances and not self.single:
            return [values == number for number in numbers]
        if len(numbers) > 1:
            what = "an object" if self.single else "a class"
            numbered = "or set `instances: true` where they number its objects"
            hint = "or set `nearest: true` where they come of JPEG or soft borders" if len(numbers) > 16 else numbered
            raise DataError(f"{shown} holds the values {name_list([0, *numbers], 6)}; a mask of {what} is 0 and one other value. Correct it, {hint}.")
        return [values == numbers[0]] if numbers else []


# what a folder is laid out by ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Several:
    """Two patterns by which each image has several masks."""

    images: str
    masks: str
    by_class: bool
    pairs: int  # masks that have an image
    names: tuple[str, ...]  # of the classes that were seen


@dataclass(frozen=True)
class _Split:
    """How the masks of a group would be told apart: pattern of images and masks with {part}, and what stands for it by mask and image."""

    images: str
    masks: str
    words: dict[PurePosixPath, tuple[Key, str]]
    of: int  # masks that were tried
    pictures: tuple[PurePosixPath, ...]  # that have some


def several_of(tree: Tree) -> Several | None:
    """The patterns by which most images of a folder have several masks, each black and white; None where there are none such."""
    groups = [group for group in groups_of(tree.images) if not group.suffix]
    known = [dict(zip(group.keys, group.files, strict=True)) for group in groups]
    best: Several | None = None
    for masks in groups:
        for found in (*_folder_each(masks), *(split for images, files in zip(groups, known, strict=True) for split in _by_names(images, files, masks))):
            several = _told(found)
            if several is not None and (best is None or several.pairs > best.pairs) and _looks_so(tree, found):
                best = several
    return best


def _folder_each(group: Group) -> list[_Split]:
    """A folder for each image, with a folder of its masks: `x/images/x.png`, `x/masks/1.png`, `x/masks/2.png`."""
    folders: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i, (_, rest, _) in enumerate(group.keys):
        names = rest.split("/")[:-1]
        if 1 <= len(names) <= 2:
            folders[names[1] if len(names) == 2 else ""][names[0]].append(i)
    found = []
    for masks in (word for word in folders if word.lower() in MASK_WORDS):
        for images in folders:
            pictures = folders[images]
            if images == masks or any(len(several) != 1 for several in pictures.values()):
                continue
            words: dict[PurePosixPath, tuple[Key, str]] = {}
            for name, several in folders[masks].items():
                if name in pictures:
                    key = group.keys[pictures[name][0]]
                    words |= {group.files[i]: (key, group.keys[i][2]) for i in several}
            shown = tuple(group.files[i] for several in pictures.values() for i in several)
            place = f"{group.template}{{name}}/{images}/" if images else f"{group.template}{{name}}/"
            found.append(_Split(f"{place}*", f"{group.template}{{name}}/{masks}/{{part}}", words, sum(map(len, folders[masks].values())), shown))
    return found


def _by_names(images: Group, known: Mapping[Key, PurePosixPath], masks: Group) -> list[_Split]:
    """A folder of masks called as the image is, a folder of masks for each class, or names that begin as the image's. `known`: the group `images` by key."""
    step = max(1, len(masks.files) // _GLANCED)
    glance = _partners(masks.files[::step], masks.keys[::step], known)
    if not any(len(words) > 0.3 * min(len(masks.files), _GLANCED) for words in glance.values()):
        return []
    found = []
    for ending, words in _partners(masks.files, masks.keys, known).items():
        pictures = {known[key] for key, _ in words.values()}
        of = sum(file not in pictures for file in masks.files)
        found.append(_Split(f"{images.template}{{name}}", f"{masks.template}{ending}", words, of, tuple(pictures)))
    return found


def _partners(files: Sequence[PurePosixPath], keys: Sequence[Key], known: Mapping[Key, PurePosixPath]) -> dict[str, dict[PurePosixPath, tuple[Key, str]]]:
    """By the ending of a pattern, with {part}: the image of each mask, and what stands for {part}."""
    found: dict[str, dict[PurePosixPath, tuple[Key, str]]] = defaultdict(dict)
    for file, (split, rest, stem) in zip(files, keys, strict=True):
        if _is_other((split, rest, stem), file, known):
            continue  # the one mask of the image of its own name
        above, _, folder = rest.rstrip("/").rpartition("/")
        above = f"{above}/" if above else ""
        if folder and _is_other((split, above, folder), file, known):
            found["{name}/{part}"][file] = (split, above, folder), stem
        first, _, below = rest.partition("/")
        if first and _is_other((split, below, stem), file, known):
            found["{part}/{name}"][file] = (split, below, stem), first
        for i in range(len(stem) - 2, 0, -1):
            if stem[i] in "_-. " and _is_other((split, rest, stem[:i]), file, known):
                found[f"{{name}}{stem[i]}{{part}}"][file] = (split, rest, stem[:i]), stem[i + 1 :]
                break
    return found


def _is_other(key: Key, file: PurePosixPath, known: Mapping[Key, PurePosixPath]) -> bool:
    return key in known and known[key] != file


def _told(found: _Split) -> Several | None:
    """Whether what tells masks apart are classes or numbers of objects; None where it is neither, or too few have an image."""
    by_image = Counter(key for key, _ in found.words.values())
    several = sum(number > 1 for number in by_image.values())
    if not by_image or len(found.words) < _MATCHED * found.of or several < max(1, _SEVERAL * len(by_image)):
        return None
    ending, words = _common_word([word for _, word in found.words.values()])
    masks = found.masks.replace("{part}", "{part}" + ending)
    times = Counter(words)
    if all(_is_number(word) for word in times):
        kind = "object"
    elif len(times) <= _MOST_CLASSES and len(words) >= 2 * len(times):
        if any(word.lower() in MASK_WORDS | NO_MASKS for word in times):
            return None  # an image's mask beside another picture of it
        kind = "class"
    elif len(times) > 0.5 * len(words) and "/{part}" in found.masks:
        kind = "object"
    else:
        return None
    return Several(found.images, masks.replace("{part}", f"{{{kind}}}"), kind == "class", len(found.words), tuple(sorted(times)) if kind == "class" else ())


def _common_word(words: list[str]) -> tuple[str, list[str]]:
    """What all words end in if it says that they are masks, and the words without it: `car_mask`, `sky_mask`."""
    for word in sorted(MASK_WORDS):
        for ending in (f"_{word}", f"-{word}"):
            if all(one.endswith(ending) and one != ending for one in words):
                return ending, [one.removesuffix(ending) for one in words]
    return "", words


def _is_number(word: str) -> bool:
    for before in _NUMBER_WORDS:
        word = word.lower().removeprefix(before).lstrip("_- ")
    return word.isdecimal()


def _looks_so(tree: Tree, found: _Split) -> bool:
    """Whether the masks are black and white, and the pictures are not."""
    masks, pictures = (_black_and_white(tree, files) for files in (list(found.words), found.pictures))
    return all(masks) and not any(pictures)


def _black_and_white(tree: Tree, files: Sequence[PurePosixPath]) -> list[bool]:
    """Of some of the files, whether they hold 0 and one other value alone."""
    some = sorted(files)[:: max(1, len(files) // _LOOKED_AT)]
    seen = [tree.values(file) for file in some]
    return [one is not None and not one.colour and 1 <= len(one.counts) <= 2 and (len(one.counts) == 1 or 0 in one.counts) for one in seen]
