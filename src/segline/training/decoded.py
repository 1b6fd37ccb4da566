"""Decoded training images, kept from one epoch to the next.

To decode JPEG and PNG is most of what a loader does with an image. What was decoded once lies in a file in the resume folder, at its own size and without any
change, and is read from there: half a megabyte out of the system's cache costs less than a tenth of decoding it. All processes of a machine share the file, and
none holds anything of it. A training that was killed finds what its forerunner decoded: the folder is of one plan and one data set.

    a checksum for each image, 8 bytes, 0 while it is not there      its pixels, then those of its index mask      those of the next      …
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segline.data.store import Sample, Split
from segline.machine import own_memory_gb
from segline.training.resume import DECODED

_SHARE_OF_MEMORY = 0.25
"""Of the machine's memory: more would push other things out of the system's cache, and then each read waits for the disk."""

_SPARED = 2 * 2**30
"""Bytes of the disk that stay free: checkpoints need room, too."""

_WORD = 8
"""Bytes; each image begins at a multiple of it."""


@contextmanager
def kept(split: Split, folder: Path, asked: float | Literal["auto"]) -> Iterator[Sequence[Sample]]:
    """The images of `split`, of which those that were decoded once lie in a file in `folder` while the block runs; the split itself, if none may.

    asked: `runtime.decoded_gb`. folder: of this training alone.
    """
    most = int((own_memory_gb() * _SHARE_OF_MEMORY if asked == "auto" else min(asked, 2**20)) * 2**30)
    images = Decoded(split, folder / f"{DECODED}{socket.gethostname()}", most)
    if not images.places:
        yield split
        return
    try:
        yield images
    finally:
        images.remove()


class Decoded(Sequence[Sample]):
    """A split that remembers what it decoded; a copy in another process shares the file.

    What has no place, or no room on the disk, is decoded each time; so is everything where the file cannot be used.
    """

    def __init__(self, split: Split, file: Path, most: int) -> None:
        """file: is made when it is first needed. most: bytes that it may have."""
        self._split, self._file = split, file
        self._sizes = split.sizes()
        self._indexed = "index" in split.truths
        self._channels, self._dtype = split.image.channels, np.dtype(split.image.dtype)
        starts = [_WORD * len(split)]
        for size in self._sizes:
            end = starts[-1] + -(-sum(self._bytes_of(size)) // _WORD) * _WORD
            if end > most:
                break
            starts.append(end)
        self._starts = starts
        self.places = len(starts) - 1
        """How many images have one: the first."""
        self._reads = self._writes = True
        self._stream: FileIO | None = None
        self._opened_by = 0

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: Any) -> Any:
        index = range(len(self))[index]
        if index >= self.places:
            return self._split[index]
        found = None
        try:
            found = self._read(index) if self._reads else None
        except OSError:
            self._reads = self._writes = False
        if found is not None:
            return found
        sample: Sample = self._split[index]
        try:
            if self._writes:
                self._write(index, sample)
        except OSError:
            self._writes = False
        return sample

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_stream": None}

    def remove(self) -> None:
        """The file, for all processes; one that has it open reads on."""
        self._close()
        with suppress(OSError):
            self._file.unlink()

    def _close(self) -> None:
        if self._stream is not None:
            with suppress(OSError):
                self._stream.close()
            self._stream = None

    def _open(self) -> FileIO:
        """A handle of this process's own: one that it inherited reads on where another process has left off."""
        if self._stream is None or self._opened_by != os.getpid():
            self._close()
            self._stream = FileIO(os.open(self._file, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644), "r+b")
            self._opened_by = os.getpid()
        return self._stream

    def _bytes_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """How many an image and its index mask have."""
        pixels = size[0] * size[1]
        return pixels * self._channels * self._dtype.itemsize, pixels * self._indexed

    def _read(self, index: int) -> Sample | None:
        stream = self._open()
        stream.seek(_WORD * index)
        checksum = stream.read(_WORD)
        if len(checksum) < _WORD or not any(checksum):
            return None
        start, end = self._starts[index : index + 2]
        content = np.empty(end - start, dtype=np.uint8)
        stream.seek(start)
        if stream.readinto(content.data) != len(content) or _checksum(content) != checksum:
            return None
        size, (pixels, labels) = self._sizes[index], self._bytes_of(self._sizes[index])
        image = content[:pixels].view(self._dtype).reshape(*size, self._channels)
        mask = content[pixels : pixels + labels].reshape(size) if self._indexed else None
        return self._split.around(index, image, mask)

    def _write(self, index: int, sample: Sample) -> None:
        start, end = self._starts[index : index + 2]
        if shutil.disk_usage(self._file.parent).free < _SPARED + end - start:
            return
        content = np.zeros(end - start, dtype=np.uint8)
        at = 0
        for array in (sample.image, sample.mask):
            if array is not None:
                content[at : at + array.nbytes] = np.ascontiguousarray(array).view(np.uint8).ravel()
                at += array.nbytes
        if at != sum(self._bytes_of(self._sizes[index])):
            return  # its mask is of another size than it
        stream = self._open()
        stream.seek(start)
        if stream.write(content.data) == len(content):
            stream.seek(_WORD * index)
            stream.write(_checksum(content))


def _checksum(content: NDArray[np.uint8]) -> bytes:
    """Never 0. It tells pixels from those that a disk has lost, and not who changed them on purpose."""
    total = np.add.reduce(content.view(np.uint64), dtype=np.uint64) | np.uint64(1 << 63)
    return bytes(total.tobytes())
