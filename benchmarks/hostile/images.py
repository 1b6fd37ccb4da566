"""Damaged image files of every kind that is read, and of some that are not, through the runtime's decoder and those of the data.

    python benchmarks/hostile/images.py [cases]

Each case is one file in one decoder: `to_array` for four kinds of images, `Decoder` as `prepare` calls it, `decode` as masks are read.
"""

from __future__ import annotations

import io
import logging
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, get_args

import numpy as np
import tifffile
from campaign import Case, campaign, write
from mutations import damaged_bytes
from PIL import Image

from segline.data.check import decode
from segline.data.images import Decoder
from segline.data.sources import Images
from segline_runtime.images import RGB, to_array
from segline_runtime.specification import ImageKind

SEED = 6
CASES = 6000
SECONDS, MIB = 20.0, 2048

KINDS = {"rgb": RGB, "grey": ImageKind(channels=1), "16-bit grey": ImageKind(channels=1, dtype="uint16"), "5 floats": ImageKind(channels=5, dtype="float32")}
"""What `to_array` is asked for."""

FOREIGN = ("dds", "sgi", "avif", "tga", "pcx", "ico", "eps", "icns", "jpeg2000", "im", "msp", "spider", "xbm")
"""Formats of Pillow's that are not read: damaged or whole, they are refused."""


def seeds() -> dict[str, bytes]:
    """A small file of each kind."""
    random = np.random.default_rng(SEED)
    rgb = Image.fromarray(np.kron(random.integers(0, 256, (6, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), dtype=np.uint8)))
    grey, palette, deep = rgb.convert("L"), rgb.quantize(16), Image.fromarray(random.integers(0, 65536, (24, 32), dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    floats = random.normal(size=(12, 16, 5)).astype(np.float32)
    found = {
        "png": _saved(rgb, "png"),
        "png grey": _saved(grey, "png"),
        "png palette": _saved(palette, "png", transparency=3),
        "png 16-bit": _saved(deep, "png"),
        "png exif": _saved(rgb, "png", exif=exif),
        "png rgba": _saved(rgb.convert("RGBA"), "png"),
        "png bits": _saved(grey.convert("1"), "png"),
        "png animated": _saved(rgb, "png", save_all=True, append_images=[rgb.rotate(90)]),
        "jpeg": _saved(rgb, "jpeg"),
        "jpeg grey": _saved(grey, "jpeg"),
        "jpeg progressive": _saved(rgb, "jpeg", progressive=True, exif=exif),
        "jpeg cmyk": _saved(rgb.convert("CMYK"), "jpeg"),
        "mpo": _saved(rgb, "mpo", save_all=True, append_images=[rgb]),
        "bmp": _saved(rgb, "bmp"),
        "bmp palette": _saved(palette, "bmp"),
        "webp": _saved(rgb, "webp", exif=exif),
        "webp lossless": _saved(rgb.convert("RGBA"), "webp", lossless=True),
        "webp animated": _saved(rgb, "webp", save_all=True, append_images=[rgb.rotate(90)]),
        "ppm": _saved(rgb, "ppm"),
        "pgm": _saved(grey, "ppm"),
        "gif": _saved(palette, "gif"),
        "gif animated": _saved(palette, "gif", save_all=True, append_images=[palette.rotate(90)]),
        "tiff": _saved(rgb, "tiff", exif=exif),
        "tiff 16-bit": _saved(deep, "tiff"),
        "tiff floats": _tiff(floats, photometric="minisblack", planarconfig="contig"),
        "tiff tiles": _tiff(np.asarray(rgb), photometric="rgb", tile=(16, 16), compression="zlib"),
        "tiff big": _tiff(floats[..., 0], bigtiff=True),
        "tiff pages": _tiff(floats.transpose(2, 0, 1), photometric="minisblack"),
        "npy": _npy(floats),
        "npy bytes": _npy(np.asarray(rgb)),
        "npy fortran": _npy(np.asfortranarray(floats)),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        found[f"tiff {compression}"] = _saved(rgb, "tiff", compression=compression)
    found["tiff group4"] = _saved(grey.convert("1"), "tiff", compression="group4")
    for word in FOREIGN:
        try:
            found[f"foreign {word}"] = _saved(rgb if word not in ("msp", "xbm") else grey.convert("1"), word)
        except (OSError, ValueError, KeyError):  # this build of Pillow does not write it
            continue
    return found


def bombs() -> dict[str, bytes]:
    """Small files that would take much memory or time."""
    png = _saved(Image.new("RGB", (8, 8)), "png")
    header, rest = png[:33], png[33:]
    zeros = zlib.compress(bytes(100_000_000), 9)
    return {
        "npy that says 10^12 rows": _npy(np.zeros((1, 1), np.uint8)).replace(b"(1, 1), }        ", b"(1000000000000,1)}"),
        "npy of objects": _npy(np.array([[None]], dtype=object)),
        "npy of texts": _npy(np.array([["a"]])),
        "npy with a deep header": b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000,
        "png that says 30000 x 30000": _chunked(png[:8], b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)) + rest,
        "png that says 2^31 rows": _chunked(png[:8], b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)) + rest,
        "png whose text is 100 MB": _chunked(header, b"zTXt", b"a\0\0" + zeros) + rest,
        "png whose iTXt is 100 MB": _chunked(header, b"iTXt", b"a\0\1\0\0\0" + zeros) + rest,
        "png whose colour profile is 100 MB": _chunked(header, b"iCCP", b"a\0\0" + zeros) + rest,
        "png with a text chunk that is cut off": _chunked(header, b"zTXt", b"a\0\0" + zeros[:40]) + rest,
        "png whose EXIF text is no text": _chunked(header, b"tEXt", b"Raw profile type exif\0\nexif\n 8\nzz") + rest,
        "png with broken EXIF": _chunked(header, b"eXIf", b"II*\0\xff\xff\xff\xff") + rest,
        "png with broken XMP": _chunked(header, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta tiff:Orientation='") + rest,
        "tiff that says 65000 x 65000": _tiff_of_size(65000, 65000),
        "tiff whose directory is its own next": _tiff_of_size(8, 8, following=8),
        "bmp that says 30000 x 30000": _bmp(30000, 30000),
        "bmp of minus 1 rows": _bmp(-1, -1),
        "ppm that says 30000 x 30000": b"P6 30000 30000 255 ",
        "ppm of endless digits": b"P6 " + b"9" * 100_000 + b" 1 255 ",
        "gif that says 65535 x 65535": b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x08\x08" + bytes(9) + b";",
        "nothing": b"",
        "zeros": bytes(1000),
    }


def decoders() -> dict[str, Callable[[bytes], Any]]:
    found: dict[str, Callable[[bytes], Any]] = {f"to_array {word}": partial(to_array, kind=kind) for word, kind in KINDS.items()}
    for images in get_args(Images):
        found[f"data {images}"] = partial(_stored, images)
    found["mask"] = lambda content: np.asarray(decode(content, "file"))
    return found


def cases(count: int) -> Iterator[Case]:
    """`count` damaged files, and the bombs in every decoder before them."""
    random = np.random.default_rng(SEED)
    ways = decoders()
    for name, content in bombs().items():
        for way, decoder in ways.items():
            yield f"{name}, {way}", partial(decoder, content)
    files = seeds()
    for number in range(count):
        name = list(files)[number % len(files)]
        way = list(ways)[int(random.integers(len(ways)))]
        content = damaged_bytes(files[name], random)
        yield f"{number}: {name}, {way}", partial(ways[way], content)


def quiet() -> None:
    """Decoders warn of damage on stderr; what counts here is what they end in."""
    warnings.simplefilter("ignore")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def _stored(images: Images, content: bytes) -> None:
    """One image, as `prepare` reads and writes it."""
    decoder = Decoder(images)
    decoder(content, "file").stored(decoder.kind)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _tiff(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _chunked(before: bytes, name: bytes, content: bytes) -> bytes:
    """`before` and a PNG chunk."""
    return before + struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _tiff_of_size(width: int, height: int, following: int = 0) -> bytes:
    """A TIFF header with one directory: 8-bit grey, one strip, no data behind it. `following`: where it says that the next directory is."""
    tags = ((256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, width * height % 2**32))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following)


def _bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


if __name__ == "__main__":
    quiet()
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else CASES
    write("images", campaign(cases(wanted), seconds=SECONDS, mib=MIB), seed=SEED, bounds={"seconds": SECONDS, "mib": MIB}, files=sorted(seeds()))
