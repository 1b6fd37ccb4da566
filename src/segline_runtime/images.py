"""Images as people send them: a file, its bytes, base64 text or an array, made into the array that a model takes.

The one place where an image file is decoded: data, training, evaluation, prediction and serving all use it.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from segline_runtime.errors import InputError as InputError
from segline_runtime.specification import ImageKind

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""File names that end so are taken for images when a folder is searched."""

RGB = ImageKind()

_ARRAY_SUFFIX = ".npy"
_NPY = b"\x93NUMPY"
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_ORIENTATION = 274
_BITS_PER_SAMPLE = 258
_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow makes grey of colour


def suffixes(kind: ImageKind) -> tuple[str, ...]:
    """Endings of the files that may hold images of a kind: `.npy` too where picture files cannot hold it."""
    return SUFFIXES if kind == RGB else (*SUFFIXES, _ARRAY_SUFFIX)


def to_rgb(source: Path | bytes | str | NDArray[Any]) -> NDArray[np.uint8]:
    """`to_array` for RGB uint8 `(H, W, 3)`."""
    return to_array(source, RGB)


def to_array(source: Path | bytes | str | NDArray[Any], kind: ImageKind) -> NDArray[Any]:
    """The image as an array `(H, W, kind.channels)` of `kind.dtype`.

    `source` is a path, the bytes of a file, those bytes as base64 text (with or without a `data:` prefix), or an array `(H, W)` or `(H, W, C)`.
    A file is a picture (PNG, JPEG, TIFF …) or a numpy array (.npy); TIFF files that Pillow cannot read, or not in full depth, need the package tifffile.

    Channels: for RGB, grey is repeated; for grey, colour becomes its luminance; of both, transparency is dropped and palettes are looked up.
    Any other number of channels must be there as it is.
    Values: between 8 and 16 bits white stays white (for uint16, `kind.scale` is white); other integers, and all numbers for float32, are taken as they are.
    A camera's orientation tag is applied.

    Raises InputError when it cannot be read or understood, and where depth would be lost unseen.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, "The array", kind)
    if isinstance(source, Path):
        try:
            return _from_bytes(source.read_bytes(), f"The image {source}", kind)
        except OSError as error:
            raise InputError(f"The image {source} cannot be read: {error.strerror or error}.") from None
    if isinstance(source, bytes):
        return _from_bytes(source, "The image", kind)
    if isinstance(source, str):
        text = source.partition(",")[2] if source.startswith("data:") else source
        try:
            return _from_bytes(base64.b64decode("".join(text.split()), validate=True), "The base64 text", kind)
        except binascii.Error as error:
            raise InputError(f"The text is not base64 ({error}); send the bytes of a PNG or JPEG file, encoded in base64.") from None
    raise InputError(f"An image of type {type(source).__name__} cannot be used; give an array, a path, the bytes of an image file, or those in base64.")


def to_png(pixels: NDArray[np.uint8]) -> str:
    """Pixels `(H, W)` or `(H, W, 3)` as a PNG file in base64, the form in which answers carry masks."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


def _from_bytes(content: bytes, name: str, kind: ImageKind) -> NDArray[Any]:
    if content.startswith(_NPY):
        return _from_array(_read_npy(content, name), name, kind)
    beyond_pillow = content.startswith(_TIFF) and kind != RGB
    pixels = None
    if not beyond_pillow or kind.channels == 1:
        pixels = _read_picture(content, name, kind, beyond_pillow)
    if pixels is None:
        pixels = _read_tiff(content, name, kind.channels)
    return _from_array(pixels, name, kind)


def _read_picture(content: bytes, name: str, kind: ImageKind, beyond_pillow: bool) -> NDArray[Any] | None:
    """Pixels by Pillow; None for a file `beyond_pillow` that it does not read, or not in full depth. Raises InputError for any other such file."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if kind.dtype == "uint8" or not _loses_depth(image, content):
                return _pixels(ImageOps.exif_transpose(image), kind.channels)
    except (UnidentifiedImageError, ValueError) as error:  # a ValueError: it knows the file, but not this layout of pixels
        if not beyond_pillow:
            reason = "is not an image that can be read" if isinstance(error, UnidentifiedImageError) else f"cannot be read ({str(error).rstrip('.')})"
            raise InputError(f"{name} {reason}; use PNG, JPEG, TIFF, BMP or WebP.") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # a broken PNG is a SyntaxError to Pillow
        raise InputError(f"{name} is damaged or not readable: {str(error).rstrip('.')}.") from None
    if not beyond_pillow:
        raise InputError(f"{name} holds several channels of 16 bits, of which 8 would be lost; save it as TIFF or as a numpy array (.npy).")
    return None


def _loses_depth(image: Image.Image, content: bytes) -> bool:
    """Whether Pillow reads this file with 8 bits although it may hold more: it knows deep pixels of one channel alone."""
    if image.mode.startswith(("I", "F")):
        return False
    if content.startswith(_PNG):
        return content[24] > 8  # bit depth, in the header
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return bool(max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))) > 8)
    return image.format == "PPM" and image.mode == "RGB"  # its depth is not told


def _pixels(image: Image.Image, channels: int) -> NDArray[Any]:
    """Pillow's pixels, converted where an image's mode has a meaning beyond its channels."""
    if image.mode.startswith(("I", "F")):
        return np.asarray(image)
    if channels in (1, 3):
        return np.asarray(image.convert("L" if channels == 1 else "RGB"))
    if image.mode == "P":
        return np.asarray(image.convert("RGBA" if channels == 4 else "RGB"))
    return np.asarray(image)


def _read_npy(content: bytes, name: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise InputError(f"{name} is damaged or no array of numbers: {' '.join(str(error).split()).rstrip('.')}.") from None
    return array


def _read_tiff(content: bytes, name: str, channels: int) -> NDArray[Any]:
    """A TIFF file of any depth and number of channels, as `(H, W)` or `(H, W, C)`, upright."""
    try:
        tifffile = importlib.import_module("tifffile")  # optional: few images need it
    except ImportError:
        raise InputError(
            f"{name} is a TIFF file that only the package tifffile reads in full; "
            "install it (`pip install tifffile`), or save the image as a numpy array (.npy)."
        ) from None
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            series = file.series[0]
            array, axes = series.asarray(), series.axes
            tag = file.pages[0].tags.get(_ORIENTATION)
    except Exception as error:  # it has no common kind for what a broken or oddly compressed file makes it raise
        raise InputError(f"{name} is damaged or not readable: {str(error).rstrip('.')}.") from None
    for position in reversed(range(array.ndim)):
        if array.shape[position] == 1 and axes[position] not in "YX":
            array = array.squeeze(position)
            axes = axes[:position] + axes[position + 1 :]
    # One plane after another, unless an array (H, W, C) was written without saying which axis is which.
    if array.ndim == 3 and axes[1:] == "YX" and (array.shape[0] == channels or array.shape[2] != channels):
        array = np.moveaxis(array, 0, 2)
    return _upright(array, 1 if tag is None else int(tag.value))


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels `(H, W, …)` turned as the orientation tag (1 to 8) says."""
    if orientation in (5, 7):
        array = array.swapaxes(0, 1)
    turns = {2: 0, 3: 2, 4: 2, 6: -1, 7: 2, 8: 1}.get(orientation, 0)
    array = np.rot90(array, turns)
    return array[:, ::-1] if orientation in (2, 4) else array


def _from_array(array: NDArray[Any], name: str, kind: ImageKind) -> NDArray[Any]:
    if array.ndim == 2:
        array = array[:, :, None]
    usable = (1, 3, 4) if kind.channels in (1, 3) else (kind.channels,)
    if array.ndim != 3 or array.shape[2] not in usable:
        wanted = "1, 3 or 4" if len(usable) > 1 else str(kind.channels)
        raise InputError(f"{name} has the shape {array.shape}; an image is (height, width), or (height, width, channels) with {wanted} channels.")
    if 0 in array.shape:
        raise InputError(f"{name} has the shape {array.shape}: it holds no pixels.")
    if kind.channels in (1, 3):
        array = array[:, :, :3]
    array = _with_dtype(array.astype(array.dtype.newbyteorder("="), copy=False), name, kind)
    if array.shape[2] == kind.channels:
        return np.ascontiguousarray(array)
    return np.repeat(array, 3, axis=2) if kind.channels == 3 else _luminance(array)


def _luminance(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.uint8:
        return np.asarray(Image.fromarray(np.ascontiguousarray(array)).convert("L"))[:, :, None]
    grey = array @ np.array(_LUMINANCE, dtype=np.float64)
    return (np.rint(grey) if array.dtype == np.uint16 else grey).astype(array.dtype)[:, :, None]


def _with_dtype(array: NDArray[Any], name: str, kind: ImageKind) -> NDArray[Any]:
    if kind.dtype == "float32":
        return _to_floats(array, name)
    if array.dtype == kind.dtype:
        return array
    integers = np.issubdtype(array.dtype, np.integer)
    if kind.dtype == "uint16":
        if array.dtype == np.uint8:
            return np.rint(array * (kind.scale / 255)).astype(np.uint16)
        if integers and array.min() >= 0 and array.max() <= 65535:
            return array.astype(np.uint16)
        raise InputError(f"{name} has values of type {array.dtype} from {array.min()} to {array.max()}; give 16-bit unsigned values (0 to 65535).")
    if array.dtype == np.int32 and array.min() >= 0 and array.max() <= 65535:  # how Pillow holds some 16-bit files
        array = array.astype(np.uint16)
    if array.dtype == np.uint16:
        return (array // 257).astype(np.uint8)
    if integers and array.min() >= 0 and array.max() <= 255:  # JSON numbers arrive as int64
        return array.astype(np.uint8)
    raise InputError(f"{name} has values of type {array.dtype} from {array.min()} to {array.max()}; give 8-bit values (0 to 255) or 16-bit unsigned ones.")


def _to_floats(array: NDArray[Any], name: str) -> NDArray[np.float32]:
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name} has values of type {array.dtype}; give numbers.")
    floats = array.astype(np.float32, copy=False)
    if not np.isfinite(floats).all():
        raise InputError(f"{name} holds values that are no finite numbers (NaN or infinite); replace them before.")
    return floats
