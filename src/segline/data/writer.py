"""The writing side of `segline.data.store`: one split's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.formats.base import SourceObject
from segline.data.images import png
from segline.data.masks import encode_mask
from segline.data.store import SPLIT_VERSION, Truth, content_hash
from segline_runtime.specification import ClassInfo


@dataclass(frozen=True)
class Stored:
    """An image and its mask as they lie in a split's folder, and what the files of the split as a whole say of them."""

    file: str  # the image's name
    size: tuple[int, int]  # height, width
    content: str  # `content_hash` of the image
    digests: tuple[bytes, bytes]  # SHA-256 of the image's content and of the mask's pixels
    objects: tuple[dict[str, Any], ...]  # COCO annotations, without the ids that say where they stand

    @property
    def singles(self) -> int:
        """Objects, crowds left out."""
        return sum(not one["iscrowd"] for one in self.objects)


def store(
    folder: Path, stem: str, suffix: str, content: bytes, size: tuple[int, int], mask: NDArray[np.uint8] | None, objects: Sequence[SourceObject]
) -> Stored:
    """Write an image, and its mask where the split `folder` has masks. `size` is (height, width). Any process may write any image of a split."""
    (folder / "images" / (stem + suffix)).write_bytes(content)
    if mask is not None and (folder / "masks").is_dir():
        (folder / "masks" / f"{stem}.png").write_bytes(png(mask))
    truth = b"" if mask is None else mask.tobytes()
    digests = (hashlib.sha256(content).digest(), hashlib.sha256(truth).digest())
    shapes = tuple({"category_id": o.label, "iscrowd": int(o.crowd), **_shape_of(o)} for o in objects)
    return Stored(stem + suffix, size, content_hash(content), digests, shapes)


class SplitWriter:
    """Writes one split: images, masks, `instances.json` with its index and `split.json`; hashes what it writes.

    Annotations are written as they come, and those of an image stand together, so that a reader finds them by two offsets.
    """

    def __init__(self, folder: Path, classes: Sequence[ClassInfo], truths: Sequence[Truth]) -> None:
        self.folder = folder
        self.count = 0
        self.objects = 0
        self._things = [{"id": c.id, "name": c.name} for c in classes if c.thing]
        self._images: list[dict[str, Any]] = []
        self._hashes: dict[str, str] = {}
        self._annotations = 0
        self._offsets: list[tuple[int, int]] = []
        self._hash = hashlib.sha256()
        (folder / "images").mkdir(parents=True)
        if "index" in truths:
            (folder / "masks").mkdir()
        self._stream = (folder / "instances.json").open("wb") if {"instances", "boxes"} & set(truths) else None
        if self._stream is not None:
            self._stream.write(b'{"annotations": [\n')

    def add(self, stem: str, suffix: str, content: bytes, size: tuple[int, int], mask: NDArray[np.uint8] | None, objects: Sequence[SourceObject]) -> None:
        """`size` is (height, width)."""
        self.enter(store(self.folder, stem, suffix, content, size, mask, objects))

    def enter(self, stored: Stored) -> None:
        """What `store` wrote, as the next image of the split."""
        self.count += 1
        annotations = [{"id": self._annotations + i, "image_id": self.count, **shape} for i, shape in enumerate(stored.objects, start=1)]
        if self._stream is not None:
            self._images.append({"id": self.count, "file_name": stored.file, "height": stored.size[0], "width": stored.size[1]})
            self._write_annotations(annotations)
        self.objects += stored.singles
        self._hashes[stored.file] = stored.content
        name, said = Path(stored.file).stem.encode(), json.dumps(annotations, sort_keys=True).encode()
        image, truth = stored.digests
        for digest in (_sha(name), image, _sha(repr(stored.size).encode()), truth, _sha(said)):
            self._hash.update(digest)

    def _write_annotations(self, annotations: Sequence[dict[str, Any]]) -> None:
        assert self._stream is not None
        if annotations and self._annotations:
            self._stream.write(b",\n")
        start = self._stream.tell()
        self._stream.write(",\n".join(json.dumps(annotation) for annotation in annotations).encode())
        self._offsets.append((start, self._stream.tell()))
        self._annotations += len(annotations)

    def finish(self) -> str:
        """Write what concerns the whole split; the hash of its images and truth."""
        listed: dict[str, Any] = {"version": SPLIT_VERSION, "count": self.count, "hash": self._hash.hexdigest()}
        if self._stream is not None:
            rest = {"images": self._images, "categories": self._things}
            self._stream.write(b"\n],\n" + json.dumps(rest)[1:].encode() + b"\n")
            self.close()
            listed["instances_bytes"] = (self.folder / "instances.json").stat().st_size
            np.save(self.folder / "instances.npy", np.array(self._offsets, dtype=np.int64).reshape(-1, 2))
        (self.folder / "split.json").write_text(json.dumps({**listed, "images": self._hashes}, indent=1) + "\n")
        return self._hash.hexdigest()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


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
