"""Decoded training images, kept from one epoch to the next.

To decode JPEG and PNG is most of what a loader does with an image. What was decoded once lies in a file, at its own size and without any change, and is read
from there: half a megabyte out of the system's cache costs less than a tenth of decoding it. Loader processes share the file and hold none of it.

    one byte for each image: 1 when it is there whole      its pixels, then those of its index mask      …
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segline.data.store import Sample, Split
from segline.files import scratch
from segline.machine import own_memory_gb

_SHARE_OF_MEMORY = 0.25
"""Of the machine's memory: more would push other things out of the system's cache, and then each read waits for the disk."""

_SHARE_OF_DISK = 0.5
"""Of what is free: checkpoints need room, too."""

_Pixels = tuple[NDArray[Any], NDArray[np.uint8] | None]
"""An image `(H, W, C)` and its index mask `(H, W)`, if the split is read with one."""


@contextmanager
def kept(split: Split, folder: Path, asked: float | Literal["auto"], *, processes: int) -> Iterator[Sequence[Sample]]:
    """The images of `split`, of which those that were decoded once lie in a file in `folder` while the block runs.

    asked: `runtime.decoded_gb`; `processes` train on this machine, and each has a file of its own. Without room for one image, it is the split.
    """
    folder.mkdir(parents=True, exist_ok=True)
    room = shutil.disk_usage(folder).free * _SHARE_OF_DISK
    most = min(room, own_memory_gb() * 2**30 * _SHARE_OF_MEMORY if asked == "auto" else asked * 2**30) / processes
    with scratch(folder, "images") as file, closing(Decoded(split, file, int(most))) as images:
        yield images if images.keeps else split


class Decoded(Sequence[Sample]):
    """A split that remembers what it decoded; a copy in another process shares the file. What has no room any more is decoded each time."""

    def __init__(self, split: Split, file: Path, most: int) -> None:
        """file: is made. most: bytes that it may have."""
        self._split, self._file = split, file
        self._sizes = split.sizes()
        self._indexed = "index" in split.truths
        kind = split.image
        self._channels, self._dtype = kind.channels, np.dtype(kind.dtype)
        of_a_pixel = self._channels * self._dtype.itemsize + self._indexed
        starts = [len(split)]
        for height, width in self._sizes:
            end = starts[-1] + height * width * of_a_pixel
            if end > most:
                break
            starts.append(end)
        self._starts = starts
        self.keeps = len(starts) - 1
        """How many images have a place: the first ones."""
        self._stream: FileIO | None = None
        self._opened_by = 0
        if self.keeps:
            file.write_bytes(bytes(self.keeps))  # none is there

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: Any) -> Any:
        index = int(index)
        if index >= self.keeps:
            return self._split[index]
        try:
            found = self._read(index)
            if found is not None:
                return self._split.around(index, *found)
        except OSError:  # somebody has removed the file
            self.keeps = 0
            return self._split[index]
        sample: Sample = self._split[index]
        try:
            self._write(index, sample)
        except OSError:  # the disk is full
            self.keeps = 0
        return sample

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_stream": None, "_opened_by": 0}

    def close(self) -> None:
        """Until an image is asked for again, the file may be removed."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self) -> FileIO:
        """A handle of this process's own: those that it inherits read on where another process has left off."""
        if self._stream is None or self._opened_by != os.getpid():
            self.close()
            self._stream, self._opened_by = FileIO(self._file, "r+b"), os.getpid()
        return self._stream

    def _read(self, index: int) -> _Pixels | None:
        stream = self._open()
        stream.seek(index)
        if stream.read(1) != b"\1":
            return None
        size = self._sizes[index]
        image = np.empty((*size, self._channels), dtype=self._dtype)
        mask = np.empty(size, dtype=np.uint8) if self._indexed else None
        stream.seek(self._starts[index])
        for array in (image, mask):
            if array is not None and stream.readinto(array.data) != array.nbytes:
                return None
        return image, mask

    def _write(self, index: int, sample: Sample) -> None:
        stream = self._open()
        stream.seek(self._starts[index])
        for array in (sample.image, sample.mask):
            if array is not None and stream.write(np.ascontiguousarray(array).data) != array.nbytes:
                return
        stream.seek(index)
        stream.write(b"\1")
