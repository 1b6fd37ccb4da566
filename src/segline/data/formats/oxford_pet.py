"""The layout of Oxford-IIIT Pet (Parkhi 2012): `images/<name>.jpg`, `annotations/trimaps/<name>.png`, and the lists `annotations/trainval.txt` and `test.txt`.

A trimap is 1 on the pet, 2 on the background, and 3 on the rim between them, of which nobody was sure. A line of a list is an image, its breed from 1 on, its
species (1 cat, 2 dog), and the breed among its species. `trainval` is to train on; `data.splits.val` says which share of it steers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segline.data.check import Frame, Refused, brief, check_size, fail, is_file, name_list, read_bytes, read_labels
from segline.data.formats.base import BACKGROUND, Record, Sighting, SourceClass, SourceData, SourceTruth
from segline.data.reading.folders import base_in, base_of
from segline.data.reading.renaming import renamed
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import IGNORE
from segline.errors import DataError

IMAGES, ANNOTATIONS, TRIMAPS = "images", "annotations", "trimaps"
_LISTS = {"trainval.txt": "train", "test.txt": "test"}
_SPECIES = ("cat", "dog")
_PET, _AROUND, _RIM = 1, 2, 3
_LICENCE = "Oxford-IIIT Pet: CC BY-SA 4.0"


class Settings(Folder):
    """Cats and dogs with trimaps, in the layout of Oxford-IIIT Pet."""

    format: Literal["oxford_pet"] = "oxford_pet"
    labels: Literal["pet", "species", "breed"] = "pet"  # what a pet's pixels are: pet, cat or dog, or one of the 37 breeds
    # what the rim between pet and background is: not scored, part of the pet, or a class of its own, the last one
    rim: Literal["ignore", "pet", "class"] = "ignore"
    classes: list[str] | None = None  # other names for the classes, by id


@dataclass(frozen=True)
class _Pet:
    """A line of a list; the numbers count from 1."""

    name: str
    breed: int
    species: int
    split: str


class OxfordPet:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        return list(self.read(root, settings).files)

    def read(self, root: Path, settings: Settings) -> SourceData:
        base = base_of(root, IMAGES, ANNOTATIONS)
        lists = [base / ANNOTATIONS / name for name in _LISTS if is_file(root / base / ANNOTATIONS / name)]
        if not lists or not (root / base / IMAGES).is_dir():
            raise DataError(
                f"{root} is not in the oxford_pet layout: it needs {IMAGES}/, and {ANNOTATIONS}/ with {' or '.join(_LISTS)} and {TRIMAPS}/. "
                "Correct data.source or data.format."
            )
        pets = _listed(root, lists)
        known, ids = _classes(pets, settings.labels)
        names = renamed(settings.classes, (*known, "rim") if settings.rim == "class" else known)
        records, files, refused = [], list(lists), []
        for pet in pets:
            image, trimap = base / IMAGES / f"{pet.name}.jpg", base / ANNOTATIONS / TRIMAPS / f"{pet.name}.png"
            missing = [file for file in (image, trimap) if not is_file(root / file)]
            if missing:
                refused.append(Refused(image.as_posix(), f"there is no {brief(missing[0].as_posix())}"))
                continue
            label = ids[pet]
            rim = {"ignore": IGNORE, "pet": label, "class": len(names) - 1}[settings.rim]
            records.append(Record(image, pet.split, _Truth(root, trimap, image.as_posix(), label, rim)))
            files += [image, trimap]
        classes = tuple(SourceClass(name, thing=False) for name in names)
        return SourceData(classes, ("index",), tuple(records), _LICENCE, tuple(sorted(files)), tuple(refused))

    def recognise(self, tree: Tree) -> Sighting | None:
        base = base_in(tree, IMAGES, ANNOTATIONS)
        if base is None or base / ANNOTATIONS / TRIMAPS not in tree.folders:
            return None
        lists = [name for name in _LISTS if base / ANNOTATIONS / name in tree.files]
        return Sighting(1.0, {}, f"{base / ANNOTATIONS / TRIMAPS}/, and {' and '.join(lists)} beside it") if lists else None


FORMAT = OxfordPet()


def _listed(root: Path, lists: list[Path]) -> list[_Pet]:
    """Raises DataError for lines that say something else, and for images that are listed twice."""
    pets: list[_Pet] = []
    places: dict[str, str] = {}
    problems = []
    for file in lists:
        text = read_bytes(root / file, file.as_posix()).decode("utf-8-sig", errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            where = f"{file.as_posix()}, line {number}"
            numbers = [int(word) for word in words[1:3] if word.isascii() and word.isdecimal() and len(word) < 4]
            if len(numbers) < 2 or numbers[0] < 1 or numbers[1] not in (1, 2) or "/" in words[0] or words[0] in (".", ".."):
                problems.append(f"{where}: '{brief(line)}' is not an image, its breed and its species (1 or 2); correct the line.")
            elif words[0] in places:
                problems.append(f"{where}, names {brief(words[0])}, as {places[words[0]]} does; an image belongs to one split, once.")
            else:
                places[words[0]] = where
                pets.append(_Pet(words[0], numbers[0], numbers[1], _LISTS[file.name]))
    fail(problems)
    return pets


def _classes(pets: list[_Pet], labels: str) -> tuple[tuple[str, ...], dict[_Pet, int]]:
    """Class names by id, and the class of each pet. Raises DataError where a breed has two names."""
    if labels == "pet":
        return (BACKGROUND, "pet"), dict.fromkeys(pets, 1)
    if labels == "species":
        return (BACKGROUND, *_SPECIES), {pet: pet.species for pet in pets}
    called: dict[int, str] = {}
    for pet in pets:
        breed = pet.name.rpartition("_")[0].replace("_", " ") or pet.name
        if called.setdefault(pet.breed, breed) != breed:
            raise DataError(f"The lists call the breed {pet.breed} both {name_list([called[pet.breed], breed])}; correct the lists.")
    numbers = {breed: i for i, breed in enumerate(sorted(called), start=1)}
    return (BACKGROUND, *(called[breed] for breed in sorted(called))), {pet: numbers[pet.breed] for pet in pets}


@dataclass(frozen=True)
class _Truth:
    """Loads one trimap."""

    root: Path
    trimap: Path
    image: str
    label: int  # of the pet
    rim: int

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = self.trimap.as_posix()
        values = read_labels(self.root / self.trimap, shown)
        check_size((values.shape[0], values.shape[1]), frame, f"The trimap {shown}", self.image)
        found = {int(value) for value in np.unique(values)}
        if not found <= {_PET, _AROUND, _RIM}:
            raise DataError(f"{shown} holds the values {name_list(sorted(found))}; a trimap is 1 (pet), 2 (background) and 3 (rim) alone.", kind="labels")
        mask = np.zeros(values.shape, np.uint8)
        mask[values == _PET] = self.label
        mask[values == _RIM] = self.rim
        return SourceTruth(mask)
