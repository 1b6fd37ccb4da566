"""The images of a source: which kind they are of (`data.images`), how they are decoded, and the form in which `prepare` stores them."""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from segline.data.check import Frame, undecodable
from segline.data.sources import Images
from segline.errors import DataError
from segline_runtime.errors import InputError
from segline_runtime.images import RGB, UNNAMED, decoding, npy_header, open_picture, orientation_of, orientation_of_tag, to_array
from segline_runtime.specification import Dtype, ImageKind

_SCALES: dict[Dtype, float] = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
_BITS: dict[Dtype, str] = {"uint8": "8 bits", "uint16": "16 bits", "float32": "floating-point values"}
_COPIED = {"JPEG": ".jpg", "PNG": ".png"}
"""File types that are stored byte for byte, where they hold the kind of image that is asked for."""

_NPY = b"\x93NUMPY"
_ORIENTATION, _BITS_PER_SAMPLE, _SAMPLES = 274, 258, 277


@dataclass(frozen=True)
class Header:
    """What an image file says of itself, its pixels unread."""

    format: str  # Pillow's word, or NPY
    dtype: Dtype
    channels: int
    picture: bool  # a picture for the eye: grey, palette, colour, with or without transparency
    orientation: int = 1  # EXIF's, 1 to 8: by which viewers turn the pixels
    pages: int = 1  # pictures in the file; those of a TIFF file may be the channels of one image
    deep: bool = False  # a picture of which Pillow decodes 8 bits, and there are more
    mode: str = ""  # Pillow's word for the pixels, of pictures


@dataclass(frozen=True)
class SourceImage:
    """A decoded image of the source. `pixels` are `(H, W, C)`, upright."""

    pixels: NDArray[Any]
    frame: Frame
    header: Header
    content: bytes

    def stored(self, kind: ImageKind) -> tuple[str, bytes]:
        """Ending and content of the file that `prepare` writes: as it is where that can be, PNG where PNG can hold it, else a numpy array."""
        single = kind.dtype == "uint16" and kind.channels == 1
        if (kind.dtype == "uint8" and kind.channels in (1, 3)) or single:
            if self.header.format in _COPIED and self.header.dtype == kind.dtype:
                return _COPIED[self.header.format], self.content
            return ".png", png(self.pixels[:, :, 0] if kind.channels == 1 else self.pixels)
        stream = io.BytesIO()
        np.save(stream, self.pixels, allow_pickle=False)
        return ".npy", stream.getvalue()


class Decoder:
    """Decodes the images of one source. The first one decides which `kind` all must be of; with `kind` given, images are made that kind.

    `images` as data.images.
    """

    def __init__(self, images: Images, kind: ImageKind | None = None) -> None:
        self._images = images
        self._fixed = kind is not None
        self._found = kind
        self._first = ""

    def look(self, content: bytes, shown: str) -> bool:
        """Let this image decide the kind, if none has; False where it cannot. Its pixels are not decoded."""
        if self._found is None:
            try:
                self._checked(content, shown)
            except DataError:
                return False
        return True

    @property
    def kind(self) -> ImageKind:
        return self._found or RGB

    def __call__(self, content: bytes, shown: str) -> SourceImage:
        """`shown` names the file in errors. Raises DataError when it is no image, damaged, several images, or of another kind than those before."""
        header = self._checked(content, shown)
        try:
            pixels = to_array(content, self.kind)
        except InputError as error:
            raise undecodable(shown, error) from None
        return SourceImage(pixels, Frame(*pixels.shape[:2]), header, content)

    def _checked(self, content: bytes, shown: str) -> Header:
        header = read_header(content, shown)
        if header.pages > 1 and self._images != "as_is":
            raise DataError(f"{_several(shown, header.pages)} Where the pages are the channels of one image, set data.images to as_is.", kind="image_kind")
        if not self._fixed:
            self._agree(_kind_of(header, self._images), header, shown)
        return header

    def _agree(self, kind: ImageKind, header: Header, shown: str) -> None:
        if self._found is None:
            self._found, self._first = kind, shown
        elif kind != self._found:
            raise DataError(
                f"{shown} is an image of {_words(header.dtype, header.channels)}, but {self._first} is taken for one of "
                f"{_words(self._found.dtype, self._found.channels)}; all images must be of one kind. "
                "Convert it (to 8-bit grey or RGB, if in doubt), or set data.images to rgb, which makes all images 8-bit RGB.",
                kind="image_kind",
            )


def read_header(content: bytes, shown: str) -> Header:
    """Raises DataError when the file is no image, its values cannot be used, or it holds several pictures."""
    if content.startswith(_NPY):
        return _array_header(content, shown)
    try:
        header = _pillow_header(content)
    except InputError as error:
        raise undecodable(shown, error) from None
    if header is None:
        return _tiff_header(content, shown)
    if header.pages > 1:
        raise DataError(_several(shown, header.pages))
    return header


def _pillow_header(content: bytes) -> Header | None:
    """None for a TIFF file of which Pillow does not know enough. Raises InputError."""
    with decoding(UNNAMED):
        try:
            with open_picture(content) as image:
                tiff = image if isinstance(image, TiffImagePlugin.TiffImageFile) else None
                frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
                if tiff is not None:
                    deep = max(tiff.tag_v2.get(_BITS_PER_SAMPLE, (8,))) > 8 and not image.mode.startswith(("I", "F"))
                    if frames > 1 or deep or tiff.tag_v2.get(_SAMPLES, 1) > 4:
                        return None
                return _picture_header(image, content, frames)
        except UnidentifiedImageError:
            if content[:2] in (b"II", b"MM"):
                return None
            raise


def png(pixels: NDArray[Any]) -> bytes:
    """`(H, W)` uint8 or uint16, or `(H, W, 3)` uint8, as the content of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG")
    return stream.getvalue()


def _picture_header(image: Image.Image, content: bytes, frames: int) -> Header:
    orientation = orientation_of(image)
    kind = image.format or ""
    if image.mode.startswith("I"):
        return Header(kind, "uint16", 1, False, orientation, frames, mode=image.mode)
    if image.mode.startswith("F"):
        return Header(kind, "float32", 1, False, orientation, frames)
    channels = 3 if image.mode in ("P", "PA") else len(image.getbands())
    deep = kind == "PNG" and content[24] > 8  # the bit depth, in the header
    mode = f"{image.mode}A" if image.mode in ("L", "RGB", "P") and "transparency" in image.info else image.mode
    return Header(kind, "uint8", channels, True, orientation, frames, deep, mode)


def _array_header(content: bytes, shown: str) -> Header:
    try:
        shape, dtype, _, _ = npy_header(content, UNNAMED)
    except InputError as error:
        raise undecodable(shown, error) from None
    return _of_array("NPY", shape, dtype, shown)


def _of_array(word: str, shape: tuple[int, ...], dtype: np.dtype[Any], shown: str, *, orientation: int = 1, pages: int = 1) -> Header:
    if len(shape) not in (2, 3):
        raise DataError(f"{shown} holds an array of shape {shape}; an image is (height, width) or (height, width, channels).")
    channels = shape[2] if len(shape) == 3 else 1
    if dtype.kind == "f":
        return Header(word, "float32", channels, False, orientation, pages)
    if dtype == np.uint8:
        return Header(word, "uint8", channels, channels in (1, 3), orientation, pages)
    if dtype == np.uint16:
        return Header(word, "uint16", channels, False, orientation, pages)
    raise DataError(f"{shown} has values of type {dtype}; save the image as uint8, uint16 or float32.")


def _tiff_header(content: bytes, shown: str) -> Header:
    """Of a TIFF file that is no picture of 8 bits: several channels, deeper ones, or several pages, which may be the channels of one image."""
    try:
        tifffile = importlib.import_module("tifffile")  # few sources need it
    except ImportError:
        raise DataError(f"{shown} is a TIFF file that only the package tifffile reads; install it, or save the image as a numpy array (.npy).") from None
    try:
        with decoding(UNNAMED), tifffile.TiffFile(io.BytesIO(content)) as file:
            series, pages = file.series[0], len(file.pages)
            sides = {axis: length for axis, length in zip(series.axes, series.shape, strict=True) if length > 1 or axis in "YX"}
            shape = (sides.pop("Y"), sides.pop("X"))
            dtype = np.dtype(series.dtype)
            tag = file.pages[0].tags.get(_ORIENTATION)
            orientation = orientation_of_tag(None if tag is None else tag.value)
            several = len(file.series) > 1
    except InputError as error:
        raise undecodable(shown, error) from None
    channels = list(sides.values())
    if len(channels) > 1 or (pages > 1 and (channels in ([], [3]) or several)):
        raise DataError(_several(shown, pages))
    return _of_array("TIFF", (*shape, *channels), dtype, shown, orientation=orientation, pages=pages)


def _several(shown: str, pictures: int) -> str:
    return f"{shown} holds {pictures} pictures in one file; save each as a file of its own."


def _kind_of(header: Header, images: Images) -> ImageKind:
    """What an image becomes by `data.images`."""
    if images == "rgb" or (images == "auto" and header.dtype == "uint8" and header.picture):
        return RGB
    dtype: Dtype = "uint16" if header.deep and images == "as_is" else header.dtype
    return ImageKind(channels=1 if images == "grey" else header.channels, dtype=dtype, scale=_SCALES[dtype])


def _words(dtype: Dtype, channels: int) -> str:
    return f"{_BITS[dtype]} per channel and {channels} channel{'s' if channels != 1 else ''}"
