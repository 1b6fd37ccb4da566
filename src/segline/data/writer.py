"""The writing side of `segline.data.store`: one split's folder."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.contents import LISTED, SPLIT_VERSION
from segline.data.formats.base import SourceObject
from segline.data.images import png
from segline.data.masks import encode_mask
from segline.data.packs import PackWriter
from segline.data.store import Truth, content_hash

_CARRIED_BYTES = 2**20
"""A process hands what is larger to another in a file, so that what waits between them needs little memory."""


@dataclass(frozen=True)
class Stored:
    """An image and its truth as they are to be stored, made by any process."""

    file: str  # the image's name
    size: tuple[int, int]  # height, width
    image: bytes | Path  # encoded, or the file that holds it until it is stored
    mask: bytes | Path | None  # a PNG likewise; None where none is kept
    content: str  # `content_hash` of the image
    digests: tuple[bytes, bytes]  # SHA-256 of the image's content and of the mask's pixels
    objects: tuple[dict[str, Any], ...]  # COCO annotations, without the ids that say where they stand

    @property
    def singles(self) -> int:
        """Objects, crowds left out."""
        return sum(not one["iscrowd"] for one in self.objects)


@dataclass(frozen=True)
class Storing:
    """How images are made ready to be stored, as several processes share it."""

    truths: tuple[Truth, ...]
    spool: Path | None = None  # a folder for what is large, on its way from one process to another

    def __call__(
        self, stem: str, suffix: str, content: bytes, size: tuple[int, int], mask: NDArray[np.uint8] | None, objects: Sequence[SourceObject]
    ) -> Stored:
        """`size` is (height, width)."""
        kept = None if mask is None or "index" not in self.truths else self._carried(png(mask))
        truth = b"" if mask is None else mask.tobytes()
        digests = (_sha(content), _sha(truth))
        shapes = tuple({"category_id": o.label, "iscrowd": int(o.crowd), **_shape_of(o)} for o in objects)
        return Stored(stem + suffix, size, self._carried(content), kept, content_hash(content), digests, shapes)

    def _carried(self, content: bytes) -> bytes | Path:
        if self.spool is None or len(content) <= _CARRIED_BYTES or multiprocessing.parent_process() is None:
            return content
        descriptor, name = tempfile.mkstemp(dir=self.spool)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        return Path(name)


class SplitWriter:
    """Writes the files of one split, and hashes what it writes. The objects of an image stand together."""

    def __init__(self, folder: Path, truths: Sequence[Truth]) -> None:
        self.folder = folder
        self.count = 0
        self.objects = 0
        self._storing = Storing(tuple(truths))
        self._annotations = 0
        self._hash = hashlib.sha256()
        folder.mkdir(parents=True)
        kinds = ["index", "images"]
        if "index" in truths:
            kinds.append("masks")
        if {"instances", "boxes"} & set(truths):
            kinds.append("objects")
        self._packs = {kind: PackWriter(folder, kind) for kind in kinds}

    def add(self, stem: str, suffix: str, content: bytes, size: tuple[int, int], mask: NDArray[np.uint8] | None, objects: Sequence[SourceObject]) -> None:
        """`size` is (height, width)."""
        self.enter(self._storing(stem, suffix, content, size, mask, objects))

    def enter(self, stored: Stored) -> None:
        """The next image of the split."""
        self.count += 1
        annotations = [{"id": self._annotations + i, "image_id": self.count, **shape} for i, shape in enumerate(stored.objects, start=1)]
        self._annotations += len(annotations)
        self.objects += stored.singles
        self._packs["images"].add([(_taken(stored.image),)])
        if "masks" in self._packs:
            assert stored.mask is not None, "a data set with class masks has one of each image"
            self._packs["masks"].add([(_taken(stored.mask),)])
        rows = [_row(shape) for shape in stored.objects] if "objects" in self._packs else []
        if rows:
            self._packs["objects"].add(rows)
        self._packs["index"].add([(stored.file, stored.content, *stored.size, len(rows))])
        name, said = Path(stored.file).stem.encode(), json.dumps(annotations, sort_keys=True).encode()
        image, truth = stored.digests
        for digest in (_sha(name), image, _sha(repr(stored.size).encode()), truth, _sha(said)):
            self._hash.update(digest)

    def finish(self) -> str:
        """Write what waits, and what concerns the whole split; the hash of its images and truth."""
        files = {kind: [asdict(file) for file in pack.finish()] for kind, pack in self._packs.items()}
        listed = {"version": SPLIT_VERSION, "count": self.count, "hash": self._hash.hexdigest(), "files": files}
        (self.folder / LISTED).write_text(json.dumps(listed, indent=1) + "\n")
        return self._hash.hexdigest()

    def close(self) -> None:
        """Let go of the files; what waits is not written."""
        for pack in self._packs.values():
            pack.close()


def _taken(content: bytes | Path) -> bytes:
    """The content, whose file, if it came in one, is no longer needed."""
    if isinstance(content, bytes):
        return content
    found = content.read_bytes()
    content.unlink()
    return found


def _row(shape: dict[str, Any]) -> tuple[Any, ...]:
    """A COCO annotation as a row of the kind `objects`."""
    counts = shape["segmentation"]["counts"].encode("ascii") if "segmentation" in shape else None
    area = float(shape["area"])  # Arrow takes no whole number beyond 64 bits for a real one; the hash of the split has the number as it was said
    return (shape["category_id"], shape["iscrowd"], *shape["bbox"], area, counts)


def _sha(part: bytes) -> bytes:
    return hashlib.sha256(part).digest()


def _shape_of(shown: SourceObject) -> dict[str, Any]:
    """Where an object is, in COCO's words; an object without a mask has no `segmentation`. Box and area that the source gives are kept."""
    shape = encode_mask(shown.mask) if shown.mask is not None else {}
    if shown.box is not None:
        shape = {"area": shown.box[2] * shown.box[3], **shape, "bbox": list(shown.box)}
    if shown.area is not None:
        shape["area"] = shown.area
    assert "bbox" in shape, "an object has a mask or a box"
    return shape
