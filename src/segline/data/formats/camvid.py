"""CamVid, in SegNet's layout or in the original colours (`segline.data.formats.camvid_colours`, where there are masks `*_L.png` and no lists).

SegNet's layout: folders `train/`, `val/`, `test/` of images, `trainannot/`, … of index masks, and the lists `train.txt`, ….

A line of a list is an image and its mask, relative to the root or with the leading folders of another machine, of which the last folder and the name count.
A split without a list is read from its folders, where the mask of `train/x.jpg` is `trainannot/x.png`.
Without `data.classes` the classes are CamVid's eleven, and 11 is ignored; with it, nothing is ignored but what `data.ignore` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Self

import numpy as np

from segline.data.check import Frame, Refused, brief, check_labels, check_size, fail, is_file, read_bytes, read_labels
from segline.data.formats import camvid_colours
from segline.data.formats.base import Record, Sighting, SourceClass, SourceData, SourceTruth, check_class_names, image_files, names_of_model
from segline.data.reading import class_files
from segline.data.reading.legend import meaning_of, values_of
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import IGNORE, SPLITS
from segline.errors import DataError

CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
UNLABELLED = 11
_THINGS = frozenset({"car", "pedestrian", "bicyclist"})
_LICENCE = "CamVid: research use"


class Settings(Folder):
    """Folders of images and of index masks, in the layout of SegNet's CamVid."""

    format: Literal["camvid"] = "camvid"
    classes: list[str] | None = None  # class names by id; default: CamVid's eleven
    ignore: list[int] | None = None  # label values that are not scored; default: 11 for CamVid's classes, none for one's own
    labels: camvid_colours.Labels = "eleven"  # of the original colour masks: eleven (SegNet's classes, which join most of the 32) or all

    def for_model(self, names: Sequence[str]) -> Self:
        return self.model_copy(update={"classes": names_of_model(self.classes, CLASSES, names)})


@dataclass(frozen=True)
class _Pair:
    """An image and its mask, relative to the root; `mask` is None where a folder has none for the image."""

    split: str
    image: Path
    mask: Path | None
    listed: str | None  # the line that names them


class CamVid:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:  # noqa: ARG002
        return camvid_colours.files(root) if _coloured(root) else _files(root, _pairs(root))

    def read(self, root: Path, settings: Settings) -> SourceData:
        if _coloured(root):
            return camvid_colours.read(root, labels=settings.labels, classes=settings.classes, licence=_LICENCE)
        classes, ignore = settings.classes, settings.ignore
        if classes is not None:
            check_class_names(classes)
        names = tuple(classes) if classes is not None else CLASSES
        ignored = frozenset(ignore) if ignore is not None else frozenset({UNLABELLED}) if classes is None else frozenset()
        both = sorted(ignored & set(range(len(names))))
        if both:
            raise DataError(f"data.ignore: {both[0]} is the id of the class '{names[both[0]]}'; a label is either a class or ignored.")
        records, refused, problems = [], [], []
        seen: set[Path] = set()
        pairs = _pairs(root)
        for pair in pairs:
            shown = pair.image.as_posix()
            if pair.listed:
                missing = [file for file in (pair.image, pair.mask) if file is not None and not is_file(root / file)]
                problems += [f"{pair.listed} names {brief(file.as_posix())}, which does not exist; add the file or remove the line." for file in missing]
                if missing:
                    continue
            if pair.mask is None:
                refused.append(Refused(shown, f"there is no mask {pair.split}annot/{pair.image.stem}.png"))
                continue
            real = (root / pair.image).resolve()
            if real in seen:
                problems.append(f"{pair.listed or pair.split} names the image {shown} a second time; an image belongs to one split, once.")
                continue
            seen.add(real)
            records.append(Record(pair.image, pair.split, _Truth(root, pair.mask, shown, names, ignored)))
        fail(problems)
        things = tuple(SourceClass(name, classes is None and name in _THINGS) for name in names)
        licence = _LICENCE if classes is None else "unknown"
        return SourceData(things, ("index",), tuple(records), licence, tuple(_files(root, pairs)), tuple(refused), names_are_the_formats=classes is None)

    def recognise(self, tree: Tree) -> Sighting | None:
        coloured = camvid_colours.seen(tree)
        if coloured is not None and _coloured(tree.root):
            return Sighting(0.97, {}, coloured)
        try:
            pairs = _pairs(tree.root)
        except DataError:
            return None
        masks = [PurePosixPath(pair.mask) for pair in pairs if pair.mask is not None and is_file(tree.root / pair.mask)]
        meaning = meaning_of(tree, masks) if masks else None
        if meaning is None or set(meaning.keys) - {"classes", "ignore"}:
            return None
        listed = sum(pair.listed is not None for pair in pairs)
        seen = f"{len(masks)} images with masks " + ("in lists of both" if listed else "in folders with 'annot' behind their names")
        values = values_of(tree, masks)
        if set(range(len(CLASSES) - 2)) <= values <= set(range(UNLABELLED + 1)) and not isinstance(meaning.keys["classes"], str):
            return Sighting(0.95, {}, f"{seen}, which hold the ids of CamVid's classes", {})
        keys = meaning.keys
        if isinstance(keys["classes"], str):
            names = class_files.read(tree.root / keys["classes"], keys["classes"]).named(colours=False)
            if set(names) != set(range(len(names))) or any(not isinstance(value, int) for value in keys.get("ignore", ())):
                return None
            keys = {**keys, "classes": [names[value] for value in range(len(names))]}
            keys["ignore"] = [value for value in keys.get("ignore", ()) if value not in names]
        return Sighting(0.85, {key: value for key, value in keys.items() if value != []}, f"{seen}: {meaning.phrase}", meaning.reasons)


FORMAT = CamVid()


@dataclass(frozen=True)
class _Truth:
    """Loads one index mask."""

    root: Path
    mask: Path
    image: str
    classes: tuple[str, ...]
    ignore: frozenset[int]

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = self.mask.as_posix()
        labels = read_labels(self.root / self.mask, shown)
        check_size((labels.shape[0], labels.shape[1]), frame, f"The mask {shown}", self.image)
        check_labels(labels, self.classes, self.ignore, shown)
        mask = np.where(np.isin(labels, list(self.ignore)), IGNORE, labels).astype(np.uint8)
        return SourceTruth(mask)


def _coloured(root: Path) -> bool:
    """Whether the masks are the original ones, in 32 colours."""
    listed = any((root / f"{split}.txt").is_file() or (root / f"{split}annot").is_dir() for split in SPLITS)
    return not listed and bool(camvid_colours.masks(root))


def _files(root: Path, pairs: Sequence[_Pair]) -> list[Path]:
    """The lists, images and masks that are there, relative to the root."""
    found = {Path(f"{split}.txt") for split in SPLITS if (root / f"{split}.txt").is_file()}
    for pair in pairs:
        found.update(file for file in (pair.image, pair.mask) if file is not None and is_file(root / file))
    return sorted(found)


def _pairs(root: Path) -> list[_Pair]:
    pairs: list[_Pair] = []
    problems: list[str] = []
    for split in SPLITS:
        listing = root / f"{split}.txt"
        if listing.is_file():
            pairs += _listed(root, split, listing, problems)
        elif (root / split).is_dir():
            masks = {f.relative_to(root / f"{split}annot").with_suffix(""): f.relative_to(root) for f in image_files(root / f"{split}annot")}
            for file in image_files(root / split):
                pairs.append(_Pair(split, file.relative_to(root), masks.get(file.relative_to(root / split).with_suffix("")), None))
    fail(problems)
    if not pairs:
        raise DataError(
            f"{root} is not in the camvid layout: there is neither train.txt nor train/ with images and trainannot/. Correct data.source or data.format."
        )
    return pairs


def _listed(root: Path, split: str, listing: Path, problems: list[str]) -> list[_Pair]:
    pairs = []
    try:
        lines = read_bytes(listing, listing.name).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{listing.name} is no text in UTF-8; write one image and its mask per line.") from None
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        where = f"{listing.name}, line {number},"
        if len(words) != 2:
            problems.append(f"{where} has {len(words)} words; it must be an image and its mask, separated by a space (and no spaces within names).")
            continue
        image, mask = (_here(root, word) for word in words)
        if image is None or mask is None:
            outside = words[0] if image is None else words[1]
            problems.append(f"{where} names {brief(outside)}, which lies outside the folder; write it relative to the folder, without '..'.")
            continue
        pairs.append(_Pair(split, image, mask, where))
    return pairs


def _here(root: Path, word: str) -> Path | None:
    """The path of a list's entry, relative to the root; leading folders of another machine are dropped. None where it leads out of the root."""
    path = PurePosixPath(word.replace("\\", "/"))
    inside = not path.is_absolute() and ".." not in path.parts
    if inside and is_file(root / path):
        return Path(path)
    last = path.parts[-2:]
    return None if ".." in last or "/" in last[-1:] else Path(*(part for part in last if part != "/"))
