"""Images as people send them: a file, its bytes, base64 text or an array, made into the array that a model takes.

The one place where an image file is decoded: data, training, evaluation, prediction and serving all use it.
"""

from __future__ import annotations

import base64
import importlib
import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from segline_runtime.errors import InputError as InputError
from segline_runtime.errors import NoImageError, TooLargeError, reason
from segline_runtime.specification import ImageKind

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""File names that end so are taken for images when a folder is searched."""

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM", "GIF")
"""Pillow's decoders that are used. It has fifty more: rarely wanted, rarely tested, and open to whoever sends a file."""

MOST_PIXELS = 2 * 89_478_485
"""Of an image, where nothing else is said: beyond it, Pillow takes a file for an attack on the machine's memory."""

UNNAMED = "The image"
"""What an image that has no name is called in sentences."""

RGB = ImageKind()

_ARRAY_SUFFIX = ".npy"
_NPY = b"\x93NUMPY"
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_ORIENTATION = 274
_BITS_PER_SAMPLE = 258
_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow makes grey of colour
_STRIP = 256  # rows


def suffixes(kind: ImageKind) -> tuple[str, ...]:
    """Endings of the files that may hold images of a kind: `.npy` too where picture files cannot hold it."""
    return SUFFIXES if kind == RGB else (*SUFFIXES, _ARRAY_SUFFIX)


def to_array(source: Path | bytes | str | NDArray[Any], kind: ImageKind, *, most_pixels: int = MOST_PIXELS) -> NDArray[Any]:
    """The image as an array `(H, W, kind.channels)` of `kind.dtype`.

    `source` is a path, the bytes of a file, those bytes as base64 text (with or without a `data:` prefix), or an array `(H, W)` or `(H, W, C)`.
    A file is a picture (PNG, JPEG, TIFF …) or a numpy array (.npy); TIFF files that Pillow cannot read, or not in full depth, need the package tifffile.

    Channels: for RGB, grey is repeated; for grey, colour becomes its luminance; of both, transparency is dropped and palettes are looked up.
    Any other number of channels must be there as it is.
    Values: between 8 and 16 bits white stays white (for uint16, `kind.scale` is white); other integers, and all numbers for float32, are taken as they are.
    A camera's orientation tag is applied. The array can be written to; of an array that is as it should be, it is that array.

    Raises InputError when it cannot be read or understood, and where depth would be lost unseen; TooLargeError when it has more than `most_pixels`, which
    is known before its pixels are decoded.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, "The array", kind, most_pixels)
    if isinstance(source, Path):
        try:
            return _from_bytes(source.read_bytes(), f"The image {source}", kind, most_pixels)
        except OSError as error:
            raise InputError(f"The image {source} cannot be read: {error.strerror or error}.") from None
    if isinstance(source, bytes):
        return _from_bytes(source, UNNAMED, kind, most_pixels)
    if isinstance(source, str):
        text = source.partition(",")[2] if source.startswith("data:") else source
        try:
            content = base64.b64decode("".join(text.split()), validate=True)
        except ValueError as error:
            raise InputError(f"The text is not base64 ({error}); send the bytes of a PNG or JPEG file, encoded in base64.") from None
        return _from_bytes(content, "The base64 text", kind, most_pixels)
    raise InputError(f"An image of type {type(source).__name__} cannot be used; give an array, a path, the bytes of an image file, or those in base64.")


@contextmanager
def decoding(name: str, most_pixels: int = MOST_PIXELS) -> Iterator[None]:
    """Whatever a decoder raises within becomes an InputError about the image `name`: damaged files make them raise errors of every kind.

    Short memory is no damage: a MemoryError passes. `most_pixels`: as in `to_array`.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise NoImageError(f"{name} is not an image that can be read; use PNG, JPEG, TIFF, BMP or WebP.") from None
    except Image.DecompressionBombError:
        pillows = 2 * (Image.MAX_IMAGE_PIXELS or MOST_PIXELS)
        raise TooLargeError(f"{name} has more than {min(most_pixels, pillows) / 1e6:.4g} megapixels; make it smaller, or cut it up.") from None
    except Exception as error:
        raise InputError(f"{name} is damaged or not readable: {reason(error)}.") from None


def open_picture(content: bytes) -> Image.Image:
    """A picture file, its header read; to be used within `decoding`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of half the size that is refused
        return Image.open(io.BytesIO(content), formats=FORMATS)


def orientation_of(image: Image.Image) -> int:
    """By which of EXIF's orientations (1 to 8) viewers turn the pixels of this file; 1: not at all. Of a TIFF file, Pillow forgets it as it loads them."""
    return orientation_of_tag(image.getexif().get(_ORIENTATION))


def orientation_of_tag(value: object) -> int:
    """The orientation that a tag's value stands for: 1 where there is no tag (None), and where its value means nothing."""
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels `(H, W, …)` turned as the orientation tag (1 to 8) says."""
    if orientation in (5, 7):
        array = array.swapaxes(0, 1)
    turns = {2: 0, 3: 2, 4: 2, 6: -1, 7: 2, 8: 1}.get(orientation, 0)
    array = np.rot90(array, turns)
    return array[:, ::-1] if orientation in (2, 4) else array


def npy_header(content: bytes, name: str) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Shape, type, whether columns come first (Fortran's order), and the first byte of the values of a .npy file. Raises InputError."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except Exception as error:  # the header is a Python literal, and damage to it raises what the parser raises
        raise InputError(f"{name} is damaged or no array of numbers: {reason(error)}.") from None
    if dtype.kind not in "biuf":
        raise InputError(f"{name} is no array of numbers: its values have the type {dtype}.")
    start = stream.tell()
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != len(content) - start:
        raise InputError(f"{name} is damaged or no array of numbers: {len(content) - start} bytes do not make the shape {shape} of {dtype}.")
    return shape, dtype, fortran, start


def to_png(pixels: NDArray[np.uint8]) -> str:
    """Pixels `(H, W)` or `(H, W, 3)` as a PNG file in base64, the form in which answers carry masks."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


def _check_size(height: int, width: int, most_pixels: int, name: str) -> None:
    if height * width > most_pixels:
        raise TooLargeError(
            f"{name} has {height * width / 1e6:.2f} megapixels ({width}x{height}), and at most {most_pixels / 1e6:g} are taken; make it smaller, or cut it up."
        )


def _from_bytes(content: bytes, name: str, kind: ImageKind, most_pixels: int) -> NDArray[Any]:
    if content.startswith(_NPY):
        shape, dtype, fortran, start = npy_header(content, name)
        array = np.frombuffer(content, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
        return _from_array(array, name, kind, most_pixels)
    beyond_pillow = content.startswith(_TIFF) and kind != RGB
    pixels = None
    if not beyond_pillow or kind.channels == 1:
        pixels = _read_picture(content, name, kind, beyond_pillow, most_pixels)
    if pixels is None:
        pixels = _read_tiff(content, name, kind.channels, most_pixels)
    return _from_array(pixels, name, kind, most_pixels)


def _read_picture(content: bytes, name: str, kind: ImageKind, beyond_pillow: bool, most_pixels: int) -> NDArray[Any] | None:
    """Pixels by Pillow; None for a file `beyond_pillow` that it does not read, or not in full depth. Raises InputError for any other such file."""
    first = None
    with decoding(name, most_pixels):
        try:
            image = open_picture(content)
            _check_size(image.height, image.width, most_pixels, name)
            if kind.dtype == "uint8" or not _loses_depth(image, content):
                image.load()  # which turns TIFF files upright
                orientation = orientation_of(image)
                first = _strip(image, 0, kind.channels)
        except (UnidentifiedImageError, ValueError) as error:  # a ValueError: it knows the file, but not this layout of pixels
            if not beyond_pillow or isinstance(error, InputError):
                raise
    if first is not None:
        return upright(_assembled(image, first, kind.channels, name), orientation)
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


def _assembled(image: Image.Image, first: NDArray[Any], channels: int, name: str) -> NDArray[Any]:
    """All pixels of a picture whose first strip is known. In strips: Pillow hands pixels over by way of copies, and a conversion is one more."""
    pixels = np.empty((image.height, *first.shape[1:]), dtype=first.dtype)
    pixels[:_STRIP] = first
    for top in range(_STRIP, image.height, _STRIP):
        with decoding(name):
            strip = _strip(image, top, channels)
        pixels[top : top + _STRIP] = strip
    return pixels


def _strip(image: Image.Image, top: int, channels: int) -> NDArray[Any]:
    """Rows of a picture from `top` on, at most `_STRIP`, converted where the image's mode has a meaning beyond its channels."""
    mode = image.mode
    if not mode.startswith(("I", "F")):
        if channels in (1, 3):
            mode = "L" if channels == 1 else "RGB"
        elif mode == "P":
            mode = "RGBA" if channels == 4 else "RGB"
    part = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
    return np.asarray(part if part.mode == mode else part.convert(mode))


def _read_tiff(content: bytes, name: str, channels: int, most_pixels: int) -> NDArray[Any]:
    """A TIFF file of any depth and number of channels, as `(H, W)` or `(H, W, C)`, upright."""
    try:
        tifffile = importlib.import_module("tifffile")  # optional: few images need it
    except ImportError:
        raise InputError(
            f"{name} is a TIFF file that only the package tifffile reads in full; "
            "install it (`pip install tifffile`), or save the image as a numpy array (.npy)."
        ) from None
    with decoding(name, most_pixels), tifffile.TiffFile(io.BytesIO(content)) as file:
        series = file.series[0]
        sides = dict(zip(series.axes, series.shape, strict=True))
        _check_size(sides["Y"], sides["X"], most_pixels, name)
        if math.prod(series.shape) > channels * most_pixels:
            raise TooLargeError(f"{name} holds {math.prod(series.shape) / 1e6:.1f} million values (shape {series.shape}): more than are taken.")
        array, axes = series.asarray(), series.axes
        tag = file.pages[0].tags.get(_ORIENTATION)
        orientation = orientation_of_tag(None if tag is None else tag.value)
    for position in reversed(range(array.ndim)):
        if array.shape[position] == 1 and axes[position] not in "YX":
            array = array.squeeze(position)
            axes = axes[:position] + axes[position + 1 :]
    # One plane after another, unless an array (H, W, C) was written without saying which axis is which.
    if array.ndim == 3 and axes[1:] == "YX" and (array.shape[0] == channels or array.shape[2] != channels):
        array = np.moveaxis(array, 0, 2)
    return upright(array, orientation)


def _from_array(array: NDArray[Any], name: str, kind: ImageKind, most_pixels: int) -> NDArray[Any]:
    if array.ndim == 2:
        array = array[:, :, None]
    usable = (1, 3, 4) if kind.channels in (1, 3) else (kind.channels,)
    if array.ndim != 3 or array.shape[2] not in usable:
        wanted = "1, 3 or 4" if len(usable) > 1 else str(kind.channels)
        raise InputError(f"{name} has the shape {array.shape}; an image is (height, width), or (height, width, channels) with {wanted} channels.")
    if 0 in array.shape:
        raise InputError(f"{name} has the shape {array.shape}: it holds no pixels.")
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name} has values of type {array.dtype}; give numbers.")
    _check_size(array.shape[0], array.shape[1], most_pixels, name)
    if kind.channels in (1, 3):
        array = array[:, :, :3]
    array = _with_dtype(array.astype(array.dtype.newbyteorder("="), copy=False), name, kind)
    if array.shape[2] == kind.channels:
        array = np.ascontiguousarray(array)
    elif kind.channels == 3:
        array = np.repeat(array, 3, axis=2)
    else:
        array = _luminance(array)
    return array if array.flags.writeable else array.copy()  # not so a view of a file's bytes


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
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32, copy=False)
    if not np.isfinite(floats).all():
        raise InputError(f"{name} holds values that are no finite numbers (NaN or infinite); replace them before.")
    return floats
