"""Images and masks of any kind, in two folders or with suffixes: `images/x.jpg` with `masks/x.png`, `x.jpg` beside `x_mask.png`, with splits or without.

`image_files` and `mask_files` are patterns of paths (see `segline.data.reading.pairing`); without them they are found by looking at the folder.
A mask holds class ids, or whatever `values` or a file named by `classes` gives a meaning: grey, palette or colour pictures of 1, 8 or 16 bits, or numpy arrays.
With `instances: true` each value but 0 is an object, of the one class besides the background. Without any of these keys the masks' values are looked at, too.
Where an image has several masks, `{class}` or `{object}` in `mask_files` tells them apart (see `segline.data.reading.mask_parts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, PrivateAttr

from segline.data.check import Frame, Refused, check_size, fail, name_list
from segline.data.formats.base import (
    BACKGROUND,
    Record,
    Sighting,
    SourceClass,
    SourceData,
    SourceObject,
    SourceTruth,
    is_text,
)
from segline.data.reading import class_files
from segline.data.reading.legend import FOREGROUND, Legend, legend_of, meaning_of
from segline.data.reading.mask_parts import ONLY, Parts, PartsTruth, Several, class_names, parts_of, several_of, tells_parts
from segline.data.reading.pairing import Layout, Pairs, Pattern, layout_of, pairs_of
from segline.data.reading.pixel_values import read_values, value_of
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import Truth
from segline.errors import DataError

_OBJECT = "object"


def _numbers(value: Any) -> Any:
    """The keys of a mapping that are numbers written as texts, as JSON has them, as numbers."""
    if not isinstance(value, dict):
        return value
    return {(int(key) if isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) < 10 else key): name for key, name in value.items()}


def _pattern(value: Any) -> Any:
    if isinstance(value, str):
        Pattern(value)
    return value


def _mask_pattern(value: Any) -> Any:
    if isinstance(value, str):
        Pattern(value, parts=True)
    return value


class Settings(Folder):
    """Images and masks in any two folders, or told apart by their names."""

    format: Literal["masks"] = "masks"
    # of the images, below source: {name} is what an image and its mask have in common, {split} a word for train, val or test, * anything within a name;
    # a folder alone: all images in it; default: found by looking
    image_files: Annotated[str | None, BeforeValidator(_pattern)] = None
    # of the masks, likewise: `masks/{name}_mask.png`; where an image has several, {class} is the name of a mask's class and {object} whatever tells objects
    # apart: `masks/{name}_{class}.png`, `{name}/masks/{object}.png`
    mask_files: Annotated[str | None, BeforeValidator(_mask_pattern)] = None
    # class names by values of the masks, `{255: person}` or `{"#ff0000": car}`; 0 or black is the background where it is not named; default: value i is class i
    values: Annotated[dict[int | str, str] | None, BeforeValidator(_numbers)] = None
    classes: list[str] | str | None = None  # class names by id, or a text or CSV file below source that lists them, with values or colours if need be
    instances: bool = False  # masks in which each object has a number of its own, 0 is the background; `classes` are then two names
    ignore: list[int | str] | None = None  # values or colours ("#rrggbb") that are neither learnt nor scored
    nearest: bool = False  # masks saved as JPEG or with soft borders: each pixel is taken for the nearest known value
    _model: tuple[str, ...] = PrivateAttr(())

    def for_model(self, names: Sequence[str]) -> Self:
        known = self.model_copy()
        known._model = tuple(names)
        return known


class Masks:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        tree = Tree(root)
        several = _several(tree, settings)
        if several is not None:
            return _parts(tree, several).files()
        pairs, _ = _pairs(tree, settings)
        return _files(tree, pairs, _with_meaning(tree, pairs, settings))

    def read(self, root: Path, settings: Settings) -> SourceData:
        tree = Tree(root)
        several = _several(tree, settings)
        if several is not None:
            return _of_parts(tree, several)
        pairs, patterns = _pairs(tree, settings)
        refused = [Refused(image.as_posix(), f"there is no mask {patterns[1]} of it") for key, image in pairs.images.items() if key not in pairs.masks]
        refused += [Refused(mask.as_posix(), "there is no image for this mask") for key, mask in pairs.masks.items() if key not in pairs.images]
        said = _with_meaning(tree, pairs, settings)
        legend = _legend(root, said, settings)
        records = []
        for key in pairs.common:
            image, mask = pairs.images[key], pairs.masks[key]
            records.append(Record(Path(image), key[0], _Truth(root, Path(mask), image.as_posix(), legend, said.instances)))
        classes = tuple(SourceClass(name, said.instances and i > 0) for i, name in enumerate(legend.names))
        truths = ("index", "instances") if said.instances else ("index",)
        return SourceData(classes, truths, tuple(records), "unknown", tuple(_files(tree, pairs, said)), tuple(refused))  # type: ignore[arg-type]

    def recognise(self, tree: Tree) -> Sighting | None:
        several = several_of(tree)
        if several is not None:
            return _sighting(several)
        layout = layout_of(tree)
        if layout is None:
            return None
        pairs = pairs_of(tree.images, Pattern(layout.images), Pattern(layout.masks))
        meaning = meaning_of(tree, [pairs.masks[key] for key in pairs.common], where=layout.masks)
        if meaning is None:
            named = f"{layout.pairs} images {layout.images} and as many files {layout.masks} of the same names, which hold no class ids or colours"
            return Sighting(0.2, {}, named)
        keys = {"image_files": layout.images, "mask_files": layout.masks, **meaning.keys}
        reasons = {"mask_files": f"{layout.pairs} images have one", **meaning.reasons}
        if layout.others:
            reasons["mask_files"] += f"; {name_list(layout.others, 4)} would do as well"
        seen = f"{layout.pairs} images {layout.images} with masks {layout.masks}: {meaning.phrase}"
        return Sighting(round(min(0.75, _sureness(layout)), 2), keys, seen, reasons)


FORMAT = Masks()


@dataclass(frozen=True)
class _Truth:
    """Loads one mask."""

    root: Path
    mask: Path
    image: str
    legend: Legend
    instances: bool

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = self.mask.as_posix()
        values = read_values(self.root / self.mask, shown, colours=None if self.instances else self.legend.colours)
        check_size((values.shape[0], values.shape[1]), frame, f"The mask {shown}", self.image)
        if not self.instances:
            return SourceTruth(self.legend.classes_of(values, shown))
        numbers = [int(n) for n in np.unique(values) if n != 0 and int(n) not in self.legend.ignored]
        if any(n < 0 for n in numbers):
            raise DataError(f"{shown} holds the unknown values {name_list(n for n in numbers if n < 0)}; objects are numbered 1, 2, 3, …")
        if numbers == [255]:
            raise DataError(
                f"{shown} holds the values 0/255: a black-and-white mask does not tell objects apart. "
                f"Number the objects 1, 2, 3, … in the mask, or set `values: {{255: {self.legend.names[-1]}}}` in place of `instances: true`."
            )
        mask = (values != 0).astype(np.uint8)
        mask[np.isin(values, list(self.legend.ignored))] = 255
        return SourceTruth(mask, tuple(SourceObject(1, values == n) for n in numbers))


def _several(tree: Tree, settings: Settings) -> Settings | None:
    """The settings, with patterns by which images have several masks; None where an image has one."""
    if tells_parts(settings.mask_files):
        if settings.image_files is None:
            raise DataError("data.mask_files tells several masks of an image apart, and data.image_files is missing; write it, too: images/{name}.")
        return settings
    if settings.mask_files is not None or settings.image_files is not None:
        return None
    seen = several_of(tree)
    return None if seen is None else settings.model_copy(update={"image_files": seen.images, "mask_files": seen.masks})


def _parts(tree: Tree, settings: Settings) -> Parts:
    """Raises DataError where the folder has no such files."""
    images, masks = Pattern(str(settings.image_files)), Pattern(str(settings.mask_files), parts=True)
    found = parts_of(tree.images, images, masks)
    odd = [file for file in (*found.images.values(), *(part.file for parts in found.masks.values() for part in parts)) if not is_text(file.as_posix())]
    fail([f"{file.as_posix()!r}: this name is not UTF-8; rename the file." for file in odd])
    if not found.common:
        raise DataError(
            f"{tree.root} is not in the masks layout: no image {images.text} has a mask {masks.text}. "
            "Correct data.image_files and data.mask_files, data.source or data.format."
        )
    return found


def _of_parts(tree: Tree, settings: Settings) -> SourceData:
    """A folder in which an image has several masks. Raises DataError."""
    pattern = str(settings.mask_files)
    if isinstance(settings.classes, str) or settings.values is not None:
        said = "values" if settings.values is not None else "classes"
        raise DataError(f"data.{said}: with {{class}} or {{object}} in data.mask_files the files' names tell the classes; list names in data.classes, or none.")
    ignored = [value_of(value) for value in settings.ignore or ()]
    if any(value is None or value == 0 for value in ignored):
        raise DataError(f"data.ignore: {name_list(settings.ignore or ())} is no list of values of masks of several files; write numbers other than 0.")
    found = _parts(tree, settings)
    by_class, single = "{class}" in pattern, "{object}" in pattern
    chosen: Sequence[str] | None = settings.classes
    if chosen is None and not by_class and len(settings._model) == 2:
        chosen = settings._model
    names = class_names(found, chosen, by_class=by_class)
    refused = [Refused(image.as_posix(), f"there is no mask {pattern} of it") for key, image in found.images.items() if key not in found.masks]
    refused += [Refused(mask.as_posix(), "there is no image for this mask") for mask in found.alone]
    records = []
    for key in found.common:
        image = found.images[key]
        values = frozenset(value for value in ignored if value is not None)
        truth = PartsTruth(tree.root, found.masks[key], image.as_posix(), names, single, settings.instances, values, settings.nearest)
        records.append(Record(Path(image), key[0], truth))
    objects = single or settings.instances
    truths: tuple[Truth, ...] = ("index", "instances") if objects else ("index",)
    classes = tuple(SourceClass(name, objects and i > 0) for i, name in enumerate(names))
    return SourceData(classes, truths, tuple(records), "unknown", tuple(found.files()), tuple(refused))


def _sighting(several: Several) -> Sighting:
    keys: dict[str, Any] = {"image_files": several.images, "mask_files": several.masks}
    if several.by_class:
        names = [name for name in several.names if name != BACKGROUND]
        keys["classes"] = [BACKGROUND, *names]
        reasons = {"mask_files": "an image has a mask for each class", "classes": "the names of the masks, in the order of the ids; the background comes first"}
        return Sighting(0.8, keys, f"{several.pairs} masks {several.masks} of images {several.images}: one for each class, {name_list(names)}", reasons)
    keys["classes"] = [BACKGROUND, ONLY]
    reasons = {"mask_files": "an image has a mask for each object", "classes": "rename them as you like; the order is that of the ids"}
    return Sighting(0.8, keys, f"{several.pairs} masks {several.masks} of images {several.images}: one for each object", reasons)


def _sureness(layout: Layout) -> float:
    return layout.sure * (1.0 if layout.matched > 0.8 else layout.matched)


def _pairs(tree: Tree, settings: Settings) -> tuple[Pairs, tuple[str, str]]:
    """Raises DataError where the folder has no such files."""
    given = settings.image_files, settings.mask_files
    if None in given:
        layout = layout_of(tree)
        if layout is None:
            raise DataError(
                f"{tree.root} is not in the masks layout: no two folders or suffixes in it look like images and their masks. "
                "Correct data.source or data.format, or name them by data.image_files and data.mask_files."
            )
        given = given[0] or layout.images, given[1] or layout.masks
    patterns = str(given[0]), str(given[1])
    if patterns[0] == patterns[1]:
        raise DataError(f"data.image_files and data.mask_files are both '{patterns[0]}'; an image and its mask are two files.")
    found = pairs_of(tree.images, Pattern(patterns[0]), Pattern(patterns[1]))
    problems = [
        f"{a.as_posix()} and {b.as_posix()} have one name; rename one, or name the file type in data.image_files and data.mask_files." for a, b in found.doubled
    ]
    problems += [
        f"{f.as_posix()!r}: this name is not UTF-8; rename the file." for f in (*found.images.values(), *found.masks.values()) if not is_text(f.as_posix())
    ]
    if not found.images:
        problems.append(f"{tree.root} is not in the masks layout: no image is called {patterns[0]}. Correct data.image_files, data.source or data.format.")
    if not found.masks:
        problems.append(f"{tree.root} is not in the masks layout: no mask is called {patterns[1]}. Correct data.mask_files, data.source or data.format.")
    fail(problems)
    if not found.common:
        one, other = next(iter(found.images.values())), next(iter(found.masks.values()))
        raise DataError(
            f"None of {len(found.images)} images ({patterns[0]}) has the name of one of {len(found.masks)} masks ({patterns[1]}): "
            f"{one.as_posix()}, {other.as_posix()}. Correct data.image_files and data.mask_files: {{name}} is what both have in common."
        )
    return found, patterns


def _with_meaning(tree: Tree, pairs: Pairs, settings: Settings) -> Settings:
    """The settings, with the meaning of the masks' values as it is seen where nobody said it. Raises DataError where it cannot be seen."""
    if settings.values is not None or settings.classes is not None or settings.instances:
        return settings
    if settings._model and all(value_of(value) is not None and not str(value).startswith("#") for value in settings.ignore or ()):
        seen = meaning_of(tree, [pairs.masks[key] for key in pairs.common])
        if seen is None or set(seen.keys) <= {"classes", "ignore"}:
            return settings.model_copy(update={"classes": list(settings._model)})
        return settings.model_copy(update=_renamed(seen.keys, settings))
    seen = meaning_of(tree, [pairs.masks[key] for key in pairs.common])
    if seen is None:
        raise DataError(
            "The masks hold too many values to be class ids or colours; say what they mean by data.values, "
            "or set `instances: true` where they are numbers of objects."
        )
    return settings.model_copy(
        update={**seen.keys, **({} if settings.ignore is None else {"ignore": settings.ignore}), "nearest": settings.nearest or seen.keys.get("nearest", False)}
    )


def _renamed(keys: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Keys as they were seen, with the one class that nobody named called as the model calls its only one."""
    others = [name for name in settings._model if name != BACKGROUND]
    if len(others) != 1:
        return keys
    if keys.get("instances"):
        return {**keys, "classes": [BACKGROUND, others[0]]}
    return {**keys, "values": {value: others[0] if name == FOREGROUND else name for value, name in keys.get("values", {}).items()}}


def _legend(root: Path, said: Settings, given: Settings) -> Legend:
    ignore = said.ignore or []
    classes: Any = said.classes
    if isinstance(classes, str):
        classes = class_files.read(_class_file(root, classes), classes)
    if not said.instances:
        return legend_of(values=said.values, classes=classes, ignore=ignore, nearest=said.nearest)
    names = classes if classes is not None else [BACKGROUND, _OBJECT]
    problems = []
    if isinstance(names, class_files.ClassFile) or len(names) != 2:
        problems.append("data.classes: with `instances: true` there are two classes, the background and one kind of object; list two names.")
    if said.values is not None:
        problems.append("data.values has no meaning with `instances: true`, where each value is the number of an object; remove one of the two.")
    if given.nearest:
        problems.append("data.nearest has no meaning with `instances: true`: a blurred number is another object's. Save the masks as PNG.")
    fail(problems)
    checked = legend_of(values=None, classes=names, ignore=[value for value in ignore if value not in (0, 1)], nearest=False)
    if 0 in [value_of(value) for value in ignore]:
        raise DataError("data.ignore: 0 is the background of masks with `instances: true` and cannot be ignored.")
    colours = any(isinstance(value, str) and value.startswith("#") for value in ignore)
    return Legend(colours, checked.names, {}, frozenset(number for value in ignore if (number := value_of(value)) is not None))


def _class_file(root: Path, given: str) -> Path:
    """Raises DataError for a file outside of the folder, or none."""
    path = PurePosixPath(given.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"data.classes: '{given}' lies outside the folder; copy the file into it, or list the names.")
    return root / path


def _files(tree: Tree, pairs: Pairs, settings: Settings) -> list[Path]:
    """Images and masks that belong together, and the file of class names, relative to the root."""
    found = {Path(pairs.images[key]) for key in pairs.common} | {Path(pairs.masks[key]) for key in pairs.common}
    if isinstance(settings.classes, str):
        found.add(Path(_class_file(tree.root, settings.classes)).relative_to(tree.root))
    return sorted(found)
