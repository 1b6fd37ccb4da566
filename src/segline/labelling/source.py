"""Where images without labels come from, and which of them are labelled already: those whose content is in the prepared data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segline.data.check import brief, fail, is_file
from segline.data.images import Decoder, SourceImage
from segline.data.leaks.fingerprint import fingerprint
from segline.data.store import SPLITS, PreparedDataset, content_hash
from segline.errors import DataError
from segline.inference.predict import find_images
from segline.labelling.spread import SIDE, Descriptors, descriptor
from segline.progress import progress as told
from segline_runtime.specification import ImageKind

LIST = ".txt"
"""Ending of a list of images: a path in each line, relative to the list; empty lines, and those that begin with #, count for nothing."""

MOST_KNOWN = 2000
"""Labelled images that others are compared with; of more, as many, evenly chosen."""


@dataclass(frozen=True)
class Labelled:
    """What is labelled already."""

    contents: frozenset[str]  # hashes, as the prepared data has them
    looks: Descriptors  # (M, P), of those that a model learns from


NOTHING = Labelled(frozenset(), np.zeros((0, SIDE * SIDE + 1), dtype=np.float32))


def images_of(source: Path, out: Path, endings: Sequence[str]) -> dict[Path, str]:
    """Image files of a folder or a list → how they are called, in order. Those below `out` are left out. Raises DataError where there are none."""
    if source.is_file() and source.suffix.lower() == LIST:
        return _listed(source)
    return {file: name.as_posix() for file, name in find_images(source, out, endings).items()}


def labelled(dataset: PreparedDataset, *, compared: bool, progress: bool = True) -> Labelled:
    """The images of all splits. compared: whether it matters what they show. Raises DataError."""
    splits = [dataset.split(name, []) for name in SPLITS if dataset.info.counts.get(name)]
    contents = frozenset(content for split in splits for content in split.hashes())
    training = next((split for split in splits if split.name == "train"), None)
    if not compared or training is None:
        return Labelled(contents, NOTHING.looks)
    chosen = np.unique(np.linspace(0, len(training) - 1, min(len(training), MOST_KNOWN)).round().astype(np.int64))
    looks = np.zeros((len(chosen), NOTHING.looks.shape[1]), dtype=np.float32)
    with told("looking at labelled images", len(chosen), shown=progress) as advance:
        for place, number in enumerate(chosen):
            looks[place] = descriptor(fingerprint(training[number].image))
            advance(1)
    return Labelled(contents, looks)


def read(file: Path, name: str, kind: ImageKind, known: Labelled) -> SourceImage | None:
    """An image of the kind that a model takes; None for one that is labelled, as it is or as `prepare` would have stored it. Raises DataError."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror or error}); check its permissions, or leave it out.") from None
    if content_hash(content) in known.contents:
        return None
    image = Decoder("as_is", kind)(content, name)
    if known.contents and content_hash(image.stored(kind)[1]) in known.contents:
        return None
    return image


def _listed(file: Path) -> dict[Path, str]:
    try:
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error}); check its permissions.") from None
    found: dict[Path, str] = {}
    missing = []
    for number, line in enumerate(lines, start=1):
        name = "" if line.startswith("#") else line.strip()
        path = file.parent / name
        if name and is_file(path):
            found.setdefault(path, name)
        elif name:
            missing.append(f"{file}, line {number}: there is no file {brief(path)}; correct the line or remove it.")
    fail(missing)
    if not found:
        raise DataError(f"{file} names no images; write a path into each line.")
    return found
