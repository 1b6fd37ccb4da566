"""A folder as the formats look at it to recognise their own: each file's name once, and a glance into those that tell."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.check import IMAGE_SUFFIXES, is_file, read_labels
from segline.data.reading.pixel_values import PixelValues, counted
from segline.errors import DataError

_GLANCE = 1 << 20
"""Bytes of a text file that are read to know it."""


class Tree:
    """What lies below `root`. Nothing here raises for what a file holds: what cannot be read is None."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._json: dict[PurePosixPath, Any] = {}
        self._labels: dict[PurePosixPath, NDArray[np.integer] | None] = {}
        self._values: dict[PurePosixPath, PixelValues | None] = {}

    @cached_property
    def files(self) -> tuple[PurePosixPath, ...]:
        """Relative to the root, sorted; hidden files and folders are left out, links to folders are followed once."""
        found: list[PurePosixPath] = []
        seen: set[str] = set()
        for folder, inner, names in os.walk(self.root, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                inner.clear()  # a link back to what was seen already
                continue
            seen.add(real)
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            here = PurePosixPath(Path(folder).relative_to(self.root).as_posix())
            found += (here / name for name in names if not name.startswith(".") and is_file(Path(folder, name)))
        return tuple(sorted(found))

    @cached_property
    def images(self) -> tuple[PurePosixPath, ...]:
        """Files that are images by their ending; masks are among them."""
        return tuple(f for f in self.files if f.suffix.lower() in IMAGE_SUFFIXES)

    @cached_property
    def folders(self) -> tuple[PurePosixPath, ...]:
        """Every folder that holds a file, at any depth, sorted."""
        return tuple(sorted({parent for f in self.files for parent in f.parents if parent != PurePosixPath(".")}))

    def of_type(self, *suffixes: str) -> tuple[PurePosixPath, ...]:
        """Files with one of these endings, given in lower case with the dot."""
        return tuple(f for f in self.files if f.suffix.lower() in suffixes)

    def text(self, file: PurePosixPath) -> str | None:
        """The beginning of a text file, at most 1 MiB; None where it is not UTF-8 or cannot be read."""
        try:
            with (self.root / file).open("rb") as stream:
                return stream.read(_GLANCE).decode("utf-8-sig", errors="strict" if (self.root / file).stat().st_size <= _GLANCE else "ignore")
        except (OSError, UnicodeDecodeError):
            return None

    def json(self, file: PurePosixPath) -> Any:
        """The whole content of a JSON file, read once; None where it is none."""
        if file not in self._json:
            try:
                self._json[file] = json.loads((self.root / file).read_bytes())
            except (OSError, ValueError, RecursionError):
                self._json[file] = None
        return self._json[file]

    def labels(self, file: PurePosixPath) -> NDArray[np.integer] | None:
        """The label values `(H, W)` of a mask, decoded once; None where it is a colour image, or no image."""
        if file not in self._labels:
            try:
                self._labels[file] = read_labels(self.root / file, file.as_posix())
            except DataError:
                self._labels[file] = None
        return self._labels[file]

    def values(self, file: PurePosixPath) -> PixelValues | None:
        """How often each value occurs in an image or a mask of any kind, counted once; None where it cannot be decoded."""
        if file not in self._values:
            try:
                self._values[file] = counted(self.root / file, file.as_posix())
            except DataError:
                self._values[file] = None
        return self._values[file]
