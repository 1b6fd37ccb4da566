"""Files of MATLAB up to version 7 (`.mat`), as older benchmarks keep their truth: numbers, structs and cells; anything else in them is None.

scipy reads them too, and crashes the process at some damaged ones; here every length is held against what is there. The layout is MathWorks' "MAT-File Format":
after a header of 128 bytes come elements, each a type, a length and that many bytes, filled up to eight. An array is an element that holds elements.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.check import read_bytes
from segline.errors import DataError

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
"""Types of elements that are plain numbers, as numpy calls them."""

_CELL, _STRUCT = 1, 2
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Classes of arrays that are numbers: what they are in memory, however they are stored."""

_MOST_BYTES = 1 << 28
"""Of one variable, decompressed."""

_DEEPEST = 16


class _DamagedError(ValueError):
    """The bytes are not what they say they are."""


def read_mat(file: Path, shown: str) -> dict[str, Any]:
    """The variables of a file by name: an array `(H, W)`, for a struct a mapping of its fields, for a cell or several structs a list.

    Raises DataError where the file cannot be read, or is none of MATLAB's up to version 7.
    """
    content = read_bytes(file, shown)
    if len(content) < _HEADER or content[126:128] != b"IM":
        raise DataError(f"{shown} is no file of MATLAB's of version 5 to 7 (version 7.3 is another format); fetch it again.", kind="unreadable")
    found: dict[str, Any] = {}
    try:
        for kind, data in _elements(memoryview(content)[_HEADER:]):
            if kind == _COMPRESSED:
                opened = zlib.decompressobj()
                inner = opened.decompress(data, _MOST_BYTES)
                if not opened.eof:
                    raise _DamagedError("a compressed variable does not end")
                kind, data = next(_elements(memoryview(inner)), (0, data))
            if kind == _MATRIX:
                name, value = _array(data, 0)
                found[name] = value
    except (_DamagedError, zlib.error) as error:
        raise DataError(f"{shown} is a damaged file of MATLAB's ({error}); fetch it again.", kind="unreadable") from None
    return found


def labels_of(value: Any, what: str, shown: str) -> NDArray[np.integer]:
    """Raises DataError where `value` is no picture of whole numbers `(H, W)`."""
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "iu":
        raise DataError(f"{shown} holds no {what} with a whole number for each pixel; fetch it again.", kind="unreadable")
    return value


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and content of one element after another."""
    place = 0
    while place < len(data):
        if len(data) - place < 8:
            raise _DamagedError("it ends within an element")
        first = int.from_bytes(data[place : place + 4], "little")
        if first >> 16:  # four bytes at most stand beside the type and the length
            kind, length, start = first & 0xFFFF, first >> 16, place + 4
            end = place + 8
            if length > 4:
                raise _DamagedError("a small element is too long")
        else:
            kind, length, start = first, int.from_bytes(data[place + 4 : place + 8], "little"), place + 8
            end = start + length + (0 if kind == _COMPRESSED else -length % 8)
            if length > len(data) - start:
                raise _DamagedError("an element is longer than the file")
        yield kind, data[start : start + length]
        place = end


def _numbers(element: tuple[int, memoryview]) -> NDArray[Any]:
    kind, data = element
    if kind not in _STORED or len(data) % np.dtype(_STORED[kind]).itemsize:
        raise _DamagedError("numbers were expected")
    return np.frombuffer(data, _STORED[kind])


def _array(data: memoryview, depth: int) -> tuple[str, Any]:
    """Name and value of an array."""
    if len(data) == 0:
        return "", None  # MATLAB's empty field
    if depth > _DEEPEST:
        raise _DamagedError("its arrays go too deep")
    parts = _elements(data)
    flags, sides, name = (_numbers(_next(parts)) for _ in range(3))
    if flags.size < 1 or sides.size < 2 or sides.dtype.kind not in "iu" or (sides < 0).any() or flags.dtype.kind not in "iu":
        raise _DamagedError("an array has no size")
    shape = tuple(int(side) for side in sides)
    count = math.prod(shape)
    called = bytes(name.astype(np.uint8)).decode("ascii", errors="replace")
    kind = int(flags[0]) & 0xFF
    if kind in _NUMBERS:
        values = _numbers(_next(parts)) if count else np.zeros(0)
        if values.size != count:
            raise _DamagedError("an array has other than the numbers that it needs")
        return called, values.astype(_NUMBERS[kind]).reshape(shape, order="F")
    if count > len(data):
        raise _DamagedError("an array has more parts than bytes")
    if kind == _CELL:
        return called, [_inner(parts, depth) for _ in range(count)]
    if kind == _STRUCT:
        length, names = _numbers(_next(parts)), bytes(_next(parts)[1])
        if length.size != 1 or length.dtype.kind not in "iu" or not 0 < int(length[0]) <= len(names) + 1:
            raise _DamagedError("a struct has no fields")
        step = int(length[0])
        fields = [names[i : i + step].split(b"\0")[0].decode("ascii", errors="replace") for i in range(0, len(names), step)]
        structs = [{field: _inner(parts, depth) for field in fields} for _ in range(count)]
        return called, structs[0] if count == 1 else structs
    return called, None


def _inner(parts: Iterator[tuple[int, memoryview]], depth: int) -> Any:
    kind, data = _next(parts)
    if kind != _MATRIX:
        raise _DamagedError("an array was expected")
    return _array(data, depth + 1)[1]


def _next(parts: Iterator[tuple[int, memoryview]]) -> tuple[int, memoryview]:
    found = next(parts, None)
    if found is None:
        raise _DamagedError("an array ends early")
    return found
