"""Rows in a few large files that are mapped into memory: Arrow's IPC format, uncompressed, so that a value is read where it lies.

    images-000.arrow, images-001.arrow, …      a kind of rows; KINDS has them all

A file holds record batches of some megabytes. It ends at a gigabyte, and after some files at twice as much, and so on: terabytes, too, are a few dozen files.
The pages that a process reads are the system's, which shares them between processes and takes them back when memory runs short.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from segline import written
from segline.errors import DataError

AGAIN = "run `dvc repro -f prepare` to write it anew"

KINDS: dict[str, pa.Schema] = {
    "index": pa.schema(
        [
            ("name", pa.string()),  # file name of the image
            ("hash", pa.string()),  # of its content
            ("height", pa.int32()),  # pixels
            ("width", pa.int32()),
            ("objects", pa.int32()),  # how many rows of `objects` are the image's; they stand in the order of the images
        ]
    ),
    "images": pa.schema([("content", pa.large_binary())]),  # an encoded file each
    "masks": pa.schema([("content", pa.large_binary())]),
    "objects": pa.schema(
        [
            ("label", pa.int32()),  # class id
            ("crowd", pa.uint8()),  # 1: a group
            ("x", pa.float64()),  # box, pixels
            ("y", pa.float64()),
            ("width", pa.float64()),
            ("height", pa.float64()),
            ("area", pa.float64()),  # square pixels
            ("counts", pa.large_binary()),  # the mask as COCO's compressed RLE, column by column; null: the object has no mask
        ]
    ),
}
"""The columns of each kind of rows."""

_BATCH_BYTES = 16 * 2**20
_BATCH_ROWS = 16_384
_FILE_BYTES = 2**30
_DOUBLED_EVERY = 8
"""Files of a kind after which their size is doubled."""


@dataclass(frozen=True)
class PackedFile:
    """One file, as its writer left it."""

    name: str
    rows: int
    bytes: int


class PackWriter:
    """Writes the rows of one kind. No more than a batch of them is held in memory; without any, there is no file."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._kind = kind
        self._schema = KINDS[kind]
        self._columns: list[list[Any]] = [[] for _ in self._schema]
        self._bytes = 0  # that wait, about
        self._rows = 0  # in the file that is open
        self._sink: Any = None
        self._writer: Any = None
        self._files: list[PackedFile] = []

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Rows that stand together in one batch, each with a value for every column."""
        for row in rows:
            for column, value in zip(self._columns, row, strict=True):
                column.append(value)
                self._bytes += len(value) if isinstance(value, bytes) else 8
        if self._bytes >= _BATCH_BYTES or len(self._columns[0]) >= _BATCH_ROWS:
            self._flush()

    def finish(self) -> list[PackedFile]:
        """Write what waits; the files that there are now."""
        if self._columns[0]:
            self._flush()
        self.close()
        return self._files

    def close(self) -> None:
        if self._writer is None:
            return
        writer, sink = self._writer, self._sink
        self._writer = self._sink = None
        with sink:
            writer.close()
        name = self._name()
        self._files.append(PackedFile(name, self._rows, (self._folder / name).stat().st_size))
        self._rows = 0

    def _flush(self) -> None:
        arrays = [pa.array(column, field.type) for column, field in zip(self._columns, self._schema, strict=True)]
        batch = pa.record_batch(arrays, schema=self._schema)
        most = _FILE_BYTES * 2 ** (len(self._files) // _DOUBLED_EVERY)
        if self._writer is not None and self._sink.tell() + batch.nbytes > most:
            self.close()
        if self._writer is None:
            self._sink = pa.OSFile(str(self._folder / self._name()), "wb")
            self._writer = pa.ipc.new_file(self._sink, self._schema)
        self._writer.write_batch(batch)
        self._rows += batch.num_rows
        for column in self._columns:
            column.clear()
        self._bytes = 0

    def _name(self) -> str:
        return f"{self._kind}-{len(self._files):03}.arrow"


class Pack:
    """The rows of one kind. A file is opened when one of its rows is asked for. Raises DataError for a file that is not what its writer left."""

    def __init__(self, folder: Path, kind: str, files: Sequence[PackedFile]) -> None:
        self._folder = folder
        self._kind = kind
        self._files = files
        self._ends = list(accumulate(file.rows for file in files))
        self._opened: dict[int, _Opened] = {}

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def require(self) -> None:
        """Raises DataError when a file is no longer there, or of another size."""
        for file in self._files:
            _require(self._folder / file.name, file)

    def values(self, row: int, *names: str) -> tuple[Any, ...]:
        """Those of some columns of one row, as Python has them."""
        columns, first = self._at(row, 1)
        return tuple(columns[name][first].item() if isinstance(columns[name], np.ndarray) else columns[name][first].as_py() for name in names)

    def rows(self, start: int, number: int) -> dict[str, Any]:
        """The columns of rows that were added together: numbers as an array that cannot be written to, others as a list."""
        columns, first = self._at(start, number)
        cut = slice(first, first + number)
        return {name: column[cut] if isinstance(column, np.ndarray) else column[cut].to_pylist() for name, column in columns.items()}

    def column(self, name: str) -> list[Any]:
        """The values of one column of all rows, as Python has them."""
        return [value for columns in self._batches() for value in columns[name].tolist()]

    def _at(self, row: int, number: int) -> tuple[dict[str, Any], int]:
        at = bisect_right(self._ends, row)
        return self._file(at).rows(row - (self._ends[at] - self._files[at].rows), number)

    def _batches(self) -> Iterator[dict[str, Any]]:
        for at in range(len(self._files)):
            yield from self._file(at).batches()

    def _file(self, at: int) -> _Opened:
        if at not in self._opened:
            self._opened[at] = _Opened(self._folder / self._files[at].name, KINDS[self._kind], self._files[at])
        return self._opened[at]


class _Opened:
    """A file of batches, mapped."""

    def __init__(self, file: Path, schema: pa.Schema, expected: PackedFile) -> None:
        self._file = file
        _require(file, expected)
        with _reading(file):
            self._reader = pa.ipc.open_file(pa.memory_map(str(file)))
            if not self._reader.schema.equals(schema):
                raise ValueError("its columns are others")
            self._ends = list(accumulate(self._reader.get_batch(i).num_rows for i in range(self._reader.num_record_batches)))
            if not self._ends or self._ends[-1] != expected.rows:
                raise ValueError(f"it does not hold {expected.rows} rows")
        self._columns: dict[int, dict[str, Any]] = {}

    def rows(self, start: int, number: int) -> tuple[dict[str, Any], int]:
        """The columns of the batch that holds some rows, and the first of these in it."""
        at = bisect_right(self._ends, start)
        first = start - (self._ends[at - 1] if at else 0)
        if start + number > self._ends[at]:
            raise DataError(f"{self._file} cannot be read (rows of one image stand apart); {AGAIN}.")
        return self._batch(at), first

    def batches(self) -> Iterator[dict[str, Any]]:
        return (self._batch(i) for i in range(len(self._ends)))

    def _batch(self, number: int) -> dict[str, Any]:
        if number not in self._columns:
            with _reading(self._file):
                batch = self._reader.get_batch(number)
                # Looks at where each value begins, not at the values: damage there would be read from memory that is not the file's.
                batch.validate(full=True)
                columns = {field.name: batch.column(field.name) for field in batch.schema}
                numbers = {name: column.to_numpy() for name, column in columns.items() if pa.types.is_primitive(column.type)}
                self._columns[number] = columns | numbers
        return self._columns[number]


def _require(file: Path, expected: PackedFile) -> None:
    try:
        size = file.stat().st_size
    except OSError:
        raise DataError(f"{file} is not there any more, or cannot be read; {AGAIN}.") from None
    if size != expected.bytes:
        raise DataError(f"{file} was changed since `prepare` wrote it; {AGAIN}.")


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    with written.reading(file, DataError, AGAIN):
        try:
            yield
        except pa.ArrowException as error:
            raise ValueError(" ".join(str(error).split())[:200]) from None
