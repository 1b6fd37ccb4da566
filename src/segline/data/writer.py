"""The writing side of `segline.data.store`: one split's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.formats.base import SourceObject
from segline.data.images import png
from segline.data.masks import encode_mask
from segline.data.store import SPLIT_VERSION, Truth, content_hash
from segline_runtime.specification import ClassInfo


class SplitWriter:
    """Writes one split: images, masks, `instances.json` with its index and `split.json`; hashes what it writes.

    Annotations are written as they come, and those of an image stand together, so that a reader finds them by two offsets.
    """

    def __init__(self, folder: Path, classes: Sequence[ClassInfo], truths: Sequence[Truth]) -> None:
        self.folder = folder
        self.count = 0
        self.objects = 0
        self._masks = "index" in truths
        self._things = [{"id": c.id, "name": c.name} for c in classes if c.thing]
        self._images: list[dict[str, Any]] = []
        self._hashes: dict[str, str] = {}
        self._annotations = 0
        self._offsets: list[tuple[int, int]] = []
        self._hash = hashlib.sha256()
        (folder / "images").mkdir(parents=True)
        if self._masks:
            (folder / "masks").mkdir()
        self._stream = (folder / "instances.json").open("wb") if {"instances", "boxes"} & set(truths) else None
        if self._stream is not None:
            self._stream.write(b'{"annotations": [\n')

    def add(self, stem: str, suffix: str, content: bytes, size: tuple[int, int], mask: NDArray[np.uint8] | None, objects: Sequence[SourceObject]) -> None:
        """`size` is (height, width)."""
        (self.folder / "images" / (stem + suffix)).write_bytes(content)
        if mask is not None and self._masks:
            (self.folder / "masks" / f"{stem}.png").write_bytes(png(mask))
        self.count += 1
        annotations = [
            {"id": self._annotations + i, "image_id": self.count, "category_id": o.label, "iscrowd": int(o.crowd), **_shape_of(o)}
            for i, o in enumerate(objects, start=1)
        ]
        if self._stream is not None:
            self._images.append({"id": self.count, "file_name": stem + suffix, "height": size[0], "width": size[1]})
            self._write_annotations(annotations)
        self.objects += sum(not o.crowd for o in objects)
        self._hashes[stem + suffix] = content_hash(content)
        truth = b"" if mask is None else mask.tobytes()
        for part in (stem.encode(), content, repr(size).encode(), truth, json.dumps(annotations, sort_keys=True).encode()):
            self._hash.update(hashlib.sha256(part).digest())

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


def _shape_of(shown: SourceObject) -> dict[str, Any]:
    """Where an object is, in COCO's words; an object without a mask has no `segmentation`. Box and area that the source gives are kept."""
    shape = encode_mask(shown.mask) if shown.mask is not None else {}
    if shown.box is not None:
        shape = {"area": shown.box[2] * shown.box[3], **shape, "bbox": list(shown.box)}
    if shown.area is not None:
        shape["area"] = shown.area
    assert "bbox" in shape, "an object has a mask or a box"
    return shape
