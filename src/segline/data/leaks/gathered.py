"""The fingerprints of many images in a few large arrays. Those that grow large lie in files without names, mapped into memory: the pages that are read are
the system's, which takes them back when memory runs short.
"""

from __future__ import annotations

import mmap
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from segline.data.leaks.fingerprint import PICTURE, WAYS, Corners, Fingerprint
from segline.errors import DataError

_WAITING_BYTES = 2**22
"""Of one kind that are held before they are written to a file; what is less needs none."""


class Gathered(Mapping[str, Fingerprint]):
    """Fingerprints by the file of their image, in the order in which they came."""

    def __init__(self, prints: Iterable[tuple[str, Fingerprint]] = ()) -> None:
        self._places: dict[str, int] = {}
        self._ends = array("q", [0])  # of the corners of each image as it is, and of those of the mirrored one
        self._hashed = bytearray()  # of each image whether it has hashes
        self._hashes = _Rows(np.dtype(np.uint64), WAYS)
        self._pictures = _Rows(np.dtype(np.int8), PICTURE * PICTURE)
        self._bits = _Rows(np.dtype(np.uint8), 32)
        self._positions = _Rows(np.dtype(np.float16), 2)
        for file, one in prints:
            self.add(file, one)

    def add(self, file: str, one: Fingerprint) -> None:
        """A file that is known already is left as it is. Raises DataError where there is no room for what is remembered."""
        if file in self._places:
            return
        self._places[file] = len(self._places)
        self._hashed.append(len(one.hashes) > 0)
        self._hashes.add(one.hashes if len(one.hashes) else np.zeros(WAYS, dtype=np.uint64))
        self._pictures.add(one.picture)
        for corners in (one.corners, one.mirrored):
            self._bits.add(corners.bits)
            self._positions.add(corners.positions)
            self._ends.append(self._ends[-1] + len(corners.bits))

    def __getitem__(self, file: str) -> Fingerprint:
        return self.at(self._places[file])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def places(self, files: Iterable[str]) -> NDArray[np.int64]:
        """Where the fingerprints of some images stand; -1 for one that has none."""
        return np.array([self._places.get(file, -1) for file in files], dtype=np.int64)

    def at(self, place: int) -> Fingerprint:
        """One of them by its place."""
        start, middle, end = self._ends[2 * place : 2 * place + 3]
        bits, positions = self._bits.all(), self._positions.all()
        return Fingerprint(
            self._hashes.all()[place] if self._hashed[place] else np.zeros(0, dtype=np.uint64),
            self._pictures.all()[place].reshape(PICTURE, PICTURE),
            Corners(bits[start:middle], positions[start:middle]),
            Corners(bits[middle:end], positions[middle:end]),
        )

    def hashes(self) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """The hashes by place, `(N, 8)`, and whether there are some, `(N,)`."""
        return self._hashes.all(), np.frombuffer(bytes(self._hashed), dtype=np.bool_)

    def bits(self) -> NDArray[np.uint8]:
        """Those of all corners, `(K, 32)`: of each image's own, and then of the mirrored one's."""
        return self._bits.all()

    def numbers(self) -> NDArray[np.int64]:
        """How many corners each image has, and mirrored: `(N, 2)`."""
        ends = np.array(self._ends, dtype=np.int64)
        return (ends[1:] - ends[:-1]).reshape(-1, 2)


class _Rows:
    """Rows of one width that are added at the end."""

    def __init__(self, dtype: np.dtype[Any], width: int) -> None:
        self._dtype = dtype
        self._width = width
        self._file: IO[bytes] | None = None
        self._waiting = bytearray()  # a buffer that a forked process forgets, where a file's own would be written twice
        self._count = 0
        self._mapped: NDArray[Any] = np.zeros((0, width), dtype=dtype)

    def add(self, rows: NDArray[Any]) -> None:
        """An array of one row or of several, of the dtype."""
        self._waiting += np.ascontiguousarray(rows, dtype=self._dtype).tobytes()
        self._count += rows.size // self._width
        if len(self._waiting) >= _WAITING_BYTES:
            self._write()

    def all(self) -> NDArray[Any]:
        """All rows, `(N, width)`."""
        if len(self._mapped) != self._count:
            rows = bytes(self._waiting) if self._file is None else mmap.mmap(self._write().fileno(), 0, access=mmap.ACCESS_READ)
            self._mapped = np.frombuffer(rows, dtype=self._dtype).reshape(-1, self._width)
        return self._mapped

    def _write(self) -> IO[bytes]:
        """What waits; the file. Raises DataError where there is no room."""
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="segline-fingerprints-", buffering=0)  # noqa: SIM115 (it is closed when nobody needs it)
                weakref.finalize(self, self._file.close)
            left = memoryview(self._waiting)
            while left:
                left = left[self._file.write(left) :]
            self._waiting = bytearray()
        except OSError as error:
            raise DataError(
                f"The fingerprints of the images cannot be written to {tempfile.tempdir or 'a temporary folder'} ({error.strerror}); make room there "
                "(8 KB an image), or let the environment variable TMPDIR name another folder."
            ) from None
        return self._file
