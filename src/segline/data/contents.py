"""What the folder of a split holds: its images in their order, and the truth of each, found by the image's position.

split.json                       number, hash, and the files with their rows and sizes
index, images, masks, objects    rows of `segline.data.packs`
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline import written
from segline.data.packs import AGAIN, KINDS, Pack, PackedFile
from segline.errors import DataError

SPLIT_VERSION = 2
"""Of `split.json`. In version 1, images and masks were files of their own."""

LISTED = "split.json"


@dataclass(frozen=True)
class Objects:
    """The objects of one image as they are stored: `(N,)` each, boxes `(N, 4)` xywh in pixels."""

    labels: NDArray[np.int32]
    crowd: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    counts: tuple[bytes | None, ...]  # COCO's compressed RLE; None where an object has no mask


class Contents:
    """Opens its files when they are first needed; a copy, as another process gets one, opens them for itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._packs: dict[str, Pack] = {}

    def __reduce__(self) -> tuple[type[Contents], tuple[Path]]:
        return Contents, (self.folder,)

    def __len__(self) -> int:
        return len(self.pack("index"))

    @cached_property
    def _files(self) -> dict[str, list[PackedFile]]:
        """By their kind, in their order."""
        file = self.folder / LISTED
        try:
            with written.reading(file, DataError, AGAIN):
                values = written.mapping(file)
                version = written.version_of(values)
                written.refuse_later(file, version, SPLIT_VERSION, DataError)
                if version == SPLIT_VERSION:
                    return _listed(values)
        except FileNotFoundError:
            raise DataError(f"{self.folder} holds no prepared images; {AGAIN}.") from None
        raise DataError(f"{file} was written by an earlier Segline; {AGAIN}.")

    def pack(self, kind: str) -> Pack:
        """The rows of a kind."""
        if kind not in self._packs:
            pack = Pack(self.folder, kind, self._files[kind])
            if kind in ("images", "masks") and len(pack) != len(self):
                raise DataError(f"{self.folder} holds {len(self)} images and {len(pack)} {kind}; run `dvc repro -f prepare` to write them anew.")
            pack.require()
            self._packs[kind] = pack
        return self._packs[kind]

    def name(self, position: int) -> str:
        """File name of an image."""
        [name] = self.pack("index").values(position, "name")
        return _file_name(name, self.folder)

    def names(self) -> list[str]:
        """File names of all images."""
        return [_file_name(name, self.folder) for name in self.pack("index").column("name")]

    def hashes(self) -> list[str]:
        """The `content_hash` of each image."""
        return self.pack("index").column("hash")

    def content(self, kind: str, position: int) -> bytes:
        """The encoded file of an image (`images`) or of its mask (`masks`)."""
        [content] = self.pack(kind).values(position, "content")
        return content or b""

    def size(self, position: int) -> tuple[int, int]:
        """Height, width."""
        height, width = self.pack("index").values(position, "height", "width")
        return height, width

    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of all images."""
        index = self.pack("index")
        return list(zip(index.column("height"), index.column("width"), strict=True))

    def objects(self, position: int) -> Objects:
        """Those of one image."""
        start, end = (int(number) for number in self._ends[position : position + 2])
        if start == end:
            none = np.zeros(0)
            return Objects(none.astype(np.int32), none.astype(np.bool_), none.reshape(0, 4), none, ())
        rows = self.pack("objects").rows(start, end - start)
        boxes = np.stack([rows["x"], rows["y"], rows["width"], rows["height"]], axis=1)
        return Objects(rows["label"], rows["crowd"].astype(np.bool_), boxes, rows["area"].copy(), tuple(rows["counts"]))

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """(N + 1,): where the objects of each image begin, and the last ones end."""
        numbers = np.array(self.pack("index").column("objects"), dtype=np.int64)
        ends = np.concatenate([[0], np.cumsum(numbers, dtype=np.int64)])
        if ends[-1] != len(self.pack("objects")) or (numbers < 0).any():
            raise DataError(f"{self.folder} holds objects of other images; {AGAIN}.")
        return ends


def _listed(values: dict[str, Any]) -> dict[str, list[PackedFile]]:
    """To be called within `reading`."""
    files: dict[str, list[PackedFile]] = {kind: [] for kind in KINDS}
    for kind, listed in values["files"].items():
        for i, one in enumerate(listed):
            file = written.well_typed(PackedFile(**one))
            if file.name != f"{kind}-{i:03}.arrow" or file.rows < 1:
                raise ValueError(f"it names a file {file.name[:80]} of {file.rows} rows")
            files[kind].append(file)
    return files


def _file_name(name: str | None, folder: Path) -> str:
    """A name that is one, as files are written by it."""
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise DataError(f"{folder} names an image {str(name)[:80]!r}; {AGAIN}.")
    return name
