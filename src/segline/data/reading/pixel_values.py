"""The values of masks of every kind: grey, palette, colour, of 1, 8 or 16 bits, or numpy arrays. A colour is one number, 0xRRGGBB."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segline.data.check import brief, decode, read_bytes, undecodable
from segline.errors import DataError
from segline_runtime.errors import InputError
from segline_runtime.images import MOST_PIXELS, UNNAMED, npy_header

_NPY = b"\x93NUMPY"
_MOST = 4096
"""Values of one mask that are counted one by one; a photograph has more."""

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_BLACK = (0, 0, 0)


@dataclass(frozen=True)
class PixelValues:
    """What one mask, or one image, holds."""

    size: tuple[int, int]  # height, width
    colour: bool  # whether the values are colours; a colour file that is grey all over is none
    counts: dict[int, int]  # pixels by value; empty where there are more than `_MOST` values
    even: float  # share of the pixels that are like their left neighbour: near 1 in masks
    kind: str  # Pillow's word for the pixels, or npy


def read_values(file: Path, shown: str, *, colours: bool | None) -> NDArray[np.int64]:
    """The values `(H, W)` of a mask: colours, or numbers (of palette images the indices); with None, what the file holds.

    Raises DataError for what is unreadable, has numbers where colours are asked for and the other way round, or is no mask.
    """
    pixels = _pixels(read_bytes(file, shown), shown)
    if isinstance(pixels, Image.Image) and colours:
        return _packed(np.asarray(_opaque(pixels)))
    array = _plain(pixels, shown)
    if array.ndim == 2:
        return array * 0x010101 if colours else array
    if colours:
        return _packed(array)
    if not _is_grey(array):
        if colours is None:
            return _packed(array)
        raise DataError(
            f"{shown} is a colour image, not a mask of label values; name its colours in data.values ({{'#ff0000': car}}), "
            "or save class ids as the pixel values of a grey PNG."
        )
    return array[:, :, 0].astype(np.int64)


def counted(file: Path, shown: str) -> PixelValues:
    """Raises DataError for what cannot be decoded."""
    pixels = _pixels(read_bytes(file, shown), shown)
    kind = pixels.mode if isinstance(pixels, Image.Image) else "npy"
    array = _plain(pixels, shown)
    colour = array.ndim == 3 and not _is_grey(array)
    values = _packed(array) if colour else array if array.ndim == 2 else array[:, :, 0]
    even = float(np.mean(values[:, 1:] == values[:, :-1])) if values.shape[1] > 1 else 1.0
    flat = values.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])  # of runs of one value: few in a mask
    found, which = np.unique(flat[starts], return_inverse=True)
    pixels_of = np.bincount(which, weights=np.diff(starts, append=len(flat)))
    by_value = {int(value): int(count) for value, count in zip(found, pixels_of, strict=True)} if len(found) <= _MOST else {}
    return PixelValues((values.shape[0], values.shape[1]), colour, by_value, even, kind)


def value_of(written: int | str) -> int | None:
    """The number that a key of params.yaml or of a class file stands for: a number, or a colour as `#rrggbb`; None for any other text."""
    if isinstance(written, int):
        return written
    if _COLOUR.fullmatch(written):
        return int(written[1:], 16)
    return int(written) if written.isascii() and written.isdecimal() and len(written) < 10 else None


def is_colour(written: int | str) -> bool:
    return isinstance(written, str) and written.startswith("#")


def written_colour(value: int) -> str:
    """`#rrggbb`."""
    return f"#{value:06x}"


def _pixels(content: bytes, shown: str) -> Image.Image | NDArray[np.generic]:
    if not content.startswith(_NPY):
        return decode(content, shown)
    try:
        shape, dtype, fortran, start = npy_header(content, UNNAMED)
    except InputError as error:
        raise undecodable(shown, error) from None
    if len(shape) not in (2, 3) or 0 in shape or shape[0] * shape[1] > MOST_PIXELS:
        raise DataError(f"{shown} holds an array of shape {brief(shape)}; a mask is (height, width), or (height, width, 3) in colours.")
    return np.frombuffer(content, dtype, offset=start).reshape(shape, order="F" if fortran else "C")


def _plain(pixels: Image.Image | NDArray[np.generic], shown: str) -> NDArray[np.int64]:
    """Numbers `(H, W)`, or colours `(H, W, 3)`."""
    if isinstance(pixels, Image.Image):
        if pixels.mode in ("1", "L", "P", "I", "I;16", "I;16B"):
            return np.asarray(pixels).astype(np.int64)
        if pixels.mode == "F":
            return _whole(np.asarray(pixels), shown)
        return np.asarray(_opaque(pixels)).astype(np.int64)
    array = np.asarray(pixels)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    elif array.ndim == 3 and array.shape[2] == 4:
        array = array[:, :, :3]
    if array.ndim == 3 and (array.shape[2] != 3 or array.dtype != np.uint8):
        raise DataError(f"{shown} holds an array of shape {array.shape} and type {array.dtype}, which is no mask; save class ids as (height, width).")
    return _whole(array, shown) if array.dtype.kind == "f" else array.astype(np.int64)


def _whole(array: NDArray[np.generic], shown: str) -> NDArray[np.int64]:
    """Numbers that are whole ones though their type allows others. Raises DataError where they are not."""
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all() or np.abs(numbers).max(initial=0) > 2**53 or (numbers != np.rint(numbers)).any():
        raise DataError(f"{shown} holds numbers that are no whole ones, which is no mask; save class ids as whole numbers.")
    return numbers.astype(np.int64)


def _opaque(image: Image.Image) -> Image.Image:
    """A picture in RGB. What is wholly transparent is black: nothing was drawn there."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        whole = image.convert("RGBA")
        drawn = whole.getchannel("A").point(lambda alpha: 255 if alpha else 0)
        return Image.composite(whole.convert("RGB"), Image.new("RGB", image.size, _BLACK), drawn)
    return image.convert("RGB")


def _is_grey(array: NDArray[np.int64]) -> bool:
    return bool((array[:, :, 0] == array[:, :, 1]).all() and (array[:, :, 1] == array[:, :, 2]).all())


def _packed(array: NDArray[np.generic]) -> NDArray[np.int64]:
    channels = array.astype(np.int64)
    return np.asarray(channels[:, :, 0] << 16 | channels[:, :, 1] << 8 | channels[:, :, 2])
