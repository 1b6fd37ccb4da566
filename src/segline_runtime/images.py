"""Images as people send them: a file, its bytes, base64 text or an array, made into RGB uint8 `(H, W, 3)`."""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""File names that end so are taken for images when a folder is searched."""


class InputError(ValueError):
    """What was given cannot be used: an image that is none, or a model file that Segline did not write. The message is a sentence."""


def to_rgb(source: Path | bytes | str | NDArray[Any]) -> NDArray[np.uint8]:
    """The image as RGB uint8 `(H, W, 3)`.

    `source` is a path, the bytes of an image file, those bytes as base64 text (with or without a `data:` prefix), or an array:
    `(H, W)` or `(H, W, 1)` grey, `(H, W, 3)` RGB, `(H, W, 4)` RGBA, of uint8 or uint16.
    Grey is repeated, palettes are looked up, transparency is dropped, 16 bits are scaled to 8, and a camera's orientation tag is applied.

    Raises InputError when it cannot be read or understood.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, "The array")
    if isinstance(source, Path):
        try:
            return _from_bytes(source.read_bytes(), f"The image {source}")
        except OSError as error:
            raise InputError(f"The image {source} cannot be read: {error.strerror or error}.") from None
    if isinstance(source, bytes):
        return _from_bytes(source, "The image")
    if isinstance(source, str):
        text = source.partition(",")[2] if source.startswith("data:") else source
        try:
            return _from_bytes(base64.b64decode("".join(text.split()), validate=True), "The base64 text")
        except binascii.Error as error:
            raise InputError(f"The text is not base64 ({error}); send the bytes of a PNG or JPEG file, encoded in base64.") from None
    raise InputError(f"An image of type {type(source).__name__} cannot be used; give an array, a path, the bytes of an image file, or those in base64.")


def _from_bytes(content: bytes, name: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith(("I", "F")):
                return _from_array(np.asarray(upright), name)
            return np.asarray(upright.convert("RGB"))
    except UnidentifiedImageError:
        raise InputError(f"{name} is not an image that can be read; use PNG, JPEG, TIFF, BMP or WebP.") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # a broken PNG is a SyntaxError to Pillow
        raise InputError(f"{name} is damaged or not readable: {str(error).rstrip('.')}.") from None


def _from_array(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise InputError(f"{name} has the shape {array.shape}; an image is (height, width), or (height, width, channels) with 1, 3 or 4 channels.")
    if 0 in array.shape:
        raise InputError(f"{name} has the shape {array.shape}: it holds no pixels.")
    return np.repeat(_to_bytes(array, name), 3, axis=2) if array.shape[2] == 1 else np.ascontiguousarray(_to_bytes(array[:, :, :3], name))


def _to_bytes(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.int32 and array.min() >= 0 and array.max() <= 65535:  # how Pillow holds some 16-bit files
        array = array.astype(np.uint16)
    if array.dtype == np.uint16:
        return (array // 257).astype(np.uint8)
    if np.issubdtype(array.dtype, np.integer) and array.min() >= 0 and array.max() <= 255:  # JSON numbers arrive as int64
        return array.astype(np.uint8)
    raise InputError(f"{name} has values of type {array.dtype} from {array.min()} to {array.max()}; give 8-bit values (0 to 255) or 16-bit unsigned ones.")
