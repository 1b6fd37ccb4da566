"""The layouts of ADE20K (Zhou 2017): the challenge set of 150 classes, and the full set.

Challenge (ADEChallengeData2016): `images/training/`, `annotations/training/`, …; label 0 is everything else and is ignored, 1 … 150 are the classes. Their
names are those of `objectInfo150.txt` where it is there, else the built-in ones: of several words the first.
Full: beside `<name>.jpg` its `<name>_seg.png`, whose red and green say the class (R // 10 · 256 + G) and whose blue the object; what the numbers mean stands
in `<name>.json` (release of 2021) or `<name>_atr.txt` (2016). It has some 3,000 classes: read are the 150, or those that `data.classes` names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segline.data.check import Frame, Refused, brief, check_size, decode, fail, read_bytes, read_labels
from segline.data.formats.base import MOST_CLASSES, Record, Sighting, SourceClass, SourceData, SourceObject, SourceTruth, check_class_names, image_files
from segline.data.reading.folders import base_in, base_of
from segline.data.reading.labels import Label, chosen, class_ids, source_classes
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import IGNORE
from segline.errors import DataError

IMAGES, ANNOTATIONS, NAMES = "images", "annotations", "objectInfo150.txt"
SEGMENTS = "_seg.png"
_SPLITS = {"training": "train", "validation": "val"}
_LICENCE = "ADE20K: research use"
CLASSES = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet", "sidewalk", "person", "earth", "door", "table",
    "mountain", "plant", "curtain", "chair", "car", "water", "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence",
    "desk", "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter", "sand", "sink",
    "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river",
    "bridge", "bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove", "palm", "kitchen island", "computer",
    "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth",
    "television receiver", "airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster", "stage",
    "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag",
    "minibike", "cradle", "oven", "ball", "food", "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen",
    "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate", "monitor", "bulletin board",
    "shower", "radiator", "glass", "clock", "flag",
)  # fmt: skip


class Settings(Folder):
    """Scenes in the layouts of ADE20K: the challenge set of 150 classes, and the full set."""

    format: Literal["ade20k"] = "ade20k"
    classes: list[str] | None = None  # names of the classes that are read, by id; default: the challenge's 150; all others are ignored


class Ade20k:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        return list(self.read(root, settings).files)

    def read(self, root: Path, settings: Settings) -> SourceData:
        if settings.classes is not None:
            check_class_names(settings.classes)
        base = base_of(root, IMAGES, ANNOTATIONS)
        if (root / base / IMAGES).is_dir() and (root / base / ANNOTATIONS).is_dir():
            return _read_challenge(root, base, settings)
        return _read_full(root, settings)

    def recognise(self, tree: Tree) -> Sighting | None:
        segments = [f for f in tree.images if f.name.endswith(SEGMENTS)]
        full = [f for f in segments if any(part in _SPLITS for part in f.parts)]
        if full:
            return Sighting(1.0, {}, f"{len(full)} files *{SEGMENTS} of ADE20K's full set")
        base = base_in(tree, IMAGES, ANNOTATIONS)
        if base is None:
            return None
        masks = [f for f in tree.images if f.is_relative_to(base / ANNOTATIONS) and f.parent.name in _SPLITS]
        if not masks:
            return None
        named = sum(f.name.startswith("ADE_") for f in masks) > len(masks) / 2 or any(f.name == NAMES for f in tree.files)
        values = [tree.labels(f) for f in masks[:3]]
        if not named and not all(value is not None and int(value.max()) <= len(CLASSES) for value in values):
            return None
        return Sighting(1.0 if named else 0.6, {}, f"{(base / ANNOTATIONS).as_posix()}/training and …/validation with {len(masks)} masks")


FORMAT = Ade20k()


# the challenge set --------------------------------------------------------------------------------------------------------------------------------------


def _read_challenge(root: Path, base: Path, settings: Settings) -> SourceData:
    names_file = base / NAMES
    names = _names(root, names_file) if (root / names_file).is_file() else list(CLASSES)
    labels = [Label(value, name) for value, name in enumerate(names, start=1)]
    classes = chosen(labels, settings.classes, names)
    known = frozenset(range(len(names) + 1))
    records, refused = [], []
    files = {names_file} if (root / names_file).is_file() else set()
    for folder, split in _SPLITS.items():
        if not (root / base / IMAGES / folder).is_dir():
            continue
        for file in image_files(root / base / IMAGES / folder):
            image = file.relative_to(root)
            mask = base / ANNOTATIONS / folder / file.relative_to(root / base / IMAGES / folder).with_suffix(".png")
            if not (root / mask).is_file():
                refused.append(Refused(image.as_posix(), f"there is no mask {mask.as_posix()}"))
                continue
            files |= {image, mask}
            records.append(Record(image, split, _ChallengeTruth(root, mask, image.as_posix(), classes, known)))
    return SourceData(source_classes(classes), ("index",), tuple(records), _LICENCE, tuple(sorted(files)), tuple(refused))


def _names(root: Path, file: Path) -> list[str]:
    """The first word of each class's name, all of them where that is another's, too. Raises DataError."""
    shown = file.as_posix()
    lines = read_bytes(root / file, shown).decode("utf-8-sig", errors="replace").splitlines()
    rows = [[cell.strip() for cell in line.split("\t")] for line in lines if line.strip()]
    found: dict[int, str] = {}
    problems = []
    for number, cells in enumerate(rows[1:], start=2):
        label = _whole(cells[0])
        if len(cells) < 2 or label is None or not cells[-1]:
            problems.append(f"{shown}, line {number}: it must begin with the label's number and end with its name, separated by tabs.")
        else:
            found[label] = cells[-1]
    if not problems and sorted(found) != list(range(1, len(found) + 1)):
        problems.append(f"{shown} does not number its labels 1, 2, 3, …; copy the file from the download again.")
    fail(problems)
    firsts = [found[i].split(",")[0].strip() for i in sorted(found)]
    return [first if firsts.count(first) == 1 else found[i] for i, first in zip(sorted(found), firsts, strict=True)]


@dataclass(frozen=True)
class _ChallengeTruth:
    """Loads one mask of the challenge set."""

    root: Path
    mask: Path
    image: str
    classes: tuple[Label, ...]
    known: frozenset[int]

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = self.mask.as_posix()
        values = read_labels(self.root / self.mask, shown)
        check_size((values.shape[0], values.shape[1]), frame, f"The mask {shown}", self.image)
        return SourceTruth(class_ids(values, self.classes, self.known, shown))


# the full set -------------------------------------------------------------------------------------------------------------------------------------------


def _read_full(root: Path, settings: Settings) -> SourceData:
    """Raises DataError when the layout is not there."""
    names = list(CLASSES if settings.classes is None else settings.classes)
    if len(names) > MOST_CLASSES:
        raise DataError(f"data.classes has {len(names)} names; at most {MOST_CLASSES} classes fit in an 8-bit mask.")
    ids = {name: i for i, name in enumerate(names)}
    records, refused = [], []
    files: set[Path] = set()
    images = [file for file in image_files(root) if file.suffix.lower() in (".jpg", ".jpeg")]
    for file in images:
        image = file.relative_to(root)
        split = next((_SPLITS[part] for part in image.parts if part in _SPLITS), None)
        segments = image.with_name(f"{image.stem}{SEGMENTS}")
        meaning = next((other for other in (image.with_suffix(".json"), image.with_name(f"{image.stem}_atr.txt")) if (root / other).is_file()), None)
        if split is None or not (root / segments).is_file():
            continue
        if meaning is None:
            refused.append(Refused(image.as_posix(), f"there is neither {image.stem}.json nor {image.stem}_atr.txt to say what its numbers mean"))
            continue
        files |= {image, segments, meaning}
        records.append(Record(image, split, _FullTruth(root, segments, meaning, image.as_posix(), ids)))
    if not records and not refused:
        raise DataError(
            f"{root} is not in the ade20k layout: it needs {IMAGES}/training/ and {ANNOTATIONS}/training/ (the challenge set), or images with their "
            f"*{SEGMENTS} below training/ and validation/ (the full set). Correct data.source or data.format."
        )
    classes = tuple(SourceClass(name, thing=True) for name in names)
    return SourceData(classes, ("index", "instances"), tuple(records), _LICENCE, tuple(sorted(files)), tuple(refused))


@dataclass(frozen=True)
class _FullTruth:
    """Loads the classes and objects of one image of the full set."""

    root: Path
    segments: Path
    meaning: Path
    image: str
    ids: dict[str, int]

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = self.segments.as_posix()
        picture = decode(read_bytes(self.root / self.segments, shown), shown)
        if picture.mode not in ("RGB", "RGBA"):
            raise DataError(f"{shown} is no RGB picture (mode {picture.mode}), so it holds no classes of ADE20K; copy it from the download again.")
        pixels = np.asarray(picture.convert("RGB")).astype(np.int32)
        check_size((pixels.shape[0], pixels.shape[1]), frame, f"The mask {shown}", self.image)
        codes = pixels[..., 0] // 10 * 256 + pixels[..., 1]
        numbers = _numbers(pixels[..., 2])
        named = _names_2021(self.root, self.meaning) if self.meaning.suffix == ".json" else _names_2016(self.root, self.meaning, codes, numbers)
        unknown = [code for code in np.unique(codes).tolist() if code and code not in named]
        if unknown:
            raise DataError(f"{shown} holds the class {unknown[0]}, which {self.meaning.name} does not name; copy both files from the download again.")
        mask = np.full(codes.shape, IGNORE, dtype=np.uint8)
        objects = []
        for code, name in sorted(named.items()):
            label = self._label(name)
            where = codes == code
            if label is None or not where.any():
                continue
            mask[where] = label
            for number in np.unique(numbers[where]).tolist():
                if number:
                    objects.append(SourceObject(label, where & (numbers == number)))
        return SourceTruth(mask, tuple(objects))

    def _label(self, name: str) -> int | None:
        """By the whole name, `door, double door`, or its first word."""
        return self.ids.get(name, self.ids.get(name.split(",")[0].strip()))


def _numbers(blue: NDArray[np.int32]) -> NDArray[np.int64]:
    """Object numbers 1, 2, 3, … in the order of the blue values, 0 for none."""
    values, numbers = np.unique(blue, return_inverse=True)
    numbers = numbers.reshape(blue.shape)
    return np.asarray(numbers if values[0] == 0 else numbers + 1)


def _names_2021(root: Path, file: Path) -> dict[int, str]:
    """Class names by number, of a release of 2021. Raises DataError."""
    shown = file.as_posix()
    try:
        content = json.loads(read_bytes(root / file, shown).decode("utf-8", errors="replace"))
        return {int(one["name_ndx"]): str(one["name"]) for one in content["annotation"]["object"]}
    except (ValueError, OverflowError, RecursionError, KeyError, TypeError, AttributeError):
        raise DataError(f"{shown} holds no annotation of ADE20K (annotation.object with name and name_ndx); copy it from the download again.") from None


def _names_2016(root: Path, file: Path, codes: NDArray[np.int32], numbers: NDArray[np.int64]) -> dict[int, str]:
    """Class names by number, of a release of 2016, whose lines name objects, `001 # 0 # 0 # door # door # ""`: their pixels say the class.

    Raises DataError.
    """
    shown = file.as_posix()
    found: dict[int, str] = {}
    problems = []
    for line_number, line in enumerate(read_bytes(root / file, shown).decode("utf-8", errors="replace").splitlines(), start=1):
        cells = [cell.strip() for cell in line.split("#")]
        if not line.strip():
            continue
        place, level = _whole(cells[0]), _whole(cells[1]) if len(cells) > 1 else None
        if len(cells) < 4 or place is None or level is None:
            problems.append(f"{shown}, line {line_number}: '{brief(line)}' is not `number # part level # occluded # class …`; copy the file again.")
            continue
        if level == 0:  # not a part of an object
            here = codes[numbers == place]
            if here.size:
                found[int(np.bincount(here).argmax())] = cells[3]
    fail(problems)
    return found


def _whole(word: str) -> int | None:
    """A whole number as these files write it; `isdigit` would let `²` pass."""
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 10 else None
