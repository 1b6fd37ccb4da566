"""What people send as an image, and what they are told when it is none."""

from __future__ import annotations

import base64
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segline.data.images import read_header
from segline_runtime.errors import InputError, TooLargeError
from segline_runtime.images import SUFFIXES, decoding, open_picture, suffixes, to_array
from segline_runtime.specification import ImageKind

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def png(image: Image.Image, kind: str = "png") -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind)
    return file.getvalue()


def test_path_bytes_base64_and_array_are_the_same_image(tmp_path: Path) -> None:
    content = png(Image.fromarray(RGB))
    (tmp_path / "a.png").write_bytes(content)
    text = base64.b64encode(content).decode()
    for source in (tmp_path / "a.png", content, text, "data:image/png;base64," + text, text[:40] + "\n" + text[40:], RGB, RGB.astype(np.int64)):
        np.testing.assert_array_equal(to_array(source, ImageKind()), RGB)


def test_grey_palette_and_transparency() -> None:
    grey = Image.fromarray(RGB).convert("L")
    expected = np.repeat(np.asarray(grey)[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(to_array(png(grey), ImageKind()), expected)
    np.testing.assert_array_equal(to_array(np.asarray(grey), ImageKind()), expected)
    np.testing.assert_array_equal(to_array(np.asarray(grey)[:, :, None], ImageKind()), expected)
    palette = Image.fromarray(RGB).quantize(4)
    np.testing.assert_array_equal(to_array(png(palette), ImageKind()), np.asarray(palette.convert("RGB")))
    rgba = np.dstack([RGB, np.full((5, 7), 30, np.uint8)])
    np.testing.assert_array_equal(to_array(png(Image.fromarray(rgba)), ImageKind()), RGB)
    np.testing.assert_array_equal(to_array(rgba, ImageKind()), RGB)
    assert np.asarray(Image.fromarray(RGB).convert("1").convert("RGB")).tolist() == to_array(png(Image.fromarray(RGB).convert("1")), ImageKind()).tolist()


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_are_scaled_not_cut(kind: str) -> None:
    deep = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    assert to_array(png(Image.fromarray(deep), kind), ImageKind())[0, :, 0].tolist() == [0, 1, 128, 255]
    assert to_array(deep, ImageKind())[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_camera_held_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, format="png", exif=exif)
    assert to_array(file.getvalue(), ImageKind()).shape == (7, 5, 3)


def test_one_pixel() -> None:
    assert to_array(png(Image.new("RGB", (1, 1), (1, 2, 3))), ImageKind()).tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (b"no image", "not an image"),
        (png(Image.fromarray(np.tile(RGB, (40, 40, 1))))[:500], "damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 40, "not an image|damaged"),
        ("%%%", "not base64"),
        ("abc", "not base64"),
        (base64.b64encode(b"hello").decode(), "The base64 text is not an image"),
        (np.zeros((4, 5, 2), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((2, 4, 5, 3), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.full((4, 5, 3), 0.5), "float64 from 0.5 to 0.5"),
        (np.full((4, 5, 3), 300), "from 300 to 300"),
        (Path("nowhere.png"), "nowhere.png cannot be read"),
        (3, "int cannot be used"),
    ],
)
def test_what_is_no_image_gets_a_sentence(source: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        to_array(source, ImageKind())  # type: ignore[arg-type]


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_grey_images_keep_their_one_channel() -> None:
    grey = ImageKind(channels=1)
    picture = Image.fromarray(RGB).convert("L")
    expected = np.asarray(picture)[:, :, None]
    rgba = np.dstack([RGB, np.full((5, 7), 30, np.uint8)])
    for source in (png(picture), np.asarray(picture), png(Image.fromarray(RGB)), RGB, rgba, png(Image.fromarray(rgba))):
        np.testing.assert_array_equal(to_array(source, grey), expected)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_are_kept_where_they_are_asked_for(kind: str) -> None:
    deep = np.array([[0, 1, 4095, 65535]], dtype=np.uint16)
    sixteen = ImageKind(channels=1, dtype="uint16", scale=65535)
    for source in (png(Image.fromarray(deep), kind), deep, deep.astype(np.int64), deep.astype(">u2"), npy(deep)):
        found = to_array(source, sixteen)
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found[:, :, 0], deep)
    np.testing.assert_array_equal(to_array(deep, ImageKind(dtype="uint16")), np.repeat(deep[:, :, None], 3, axis=2))


def test_white_stays_white_between_eight_and_sixteen_bits() -> None:
    light = np.array([[0, 128, 255]], np.uint8)
    assert to_array(light, ImageKind(channels=1, dtype="uint16", scale=65535))[0, :, 0].tolist() == [0, 32896, 65535]
    assert to_array(png(Image.fromarray(light)), ImageKind(channels=1, dtype="uint16", scale=4095))[0, :, 0].tolist() == [0, 2056, 4095]


def test_floats_are_taken_as_they_are() -> None:
    heights = np.array([[-3.5, 0, 8848]], np.float32)
    floats = ImageKind(channels=1, dtype="float32", scale=1000.0)
    for source in (heights, heights.astype(np.float64), npy(heights), png(Image.fromarray(heights), "tiff")):
        found = to_array(source, floats)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found[:, :, 0], heights)
    assert to_array(np.array([[-2, 300]], np.int16), floats)[0, :, 0].tolist() == [-2, 300]
    assert to_array(RGB[:1, :1], ImageKind(dtype="float32"))[0, 0].tolist() == RGB[0, 0].tolist()


@pytest.mark.parametrize("channels", [2, 4, 5, 12])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_any_number_of_channels_from_arrays_and_array_files(channels: int, dtype: Any, tmp_path: Path) -> None:
    kind = ImageKind(channels=channels, dtype=dtype)
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(dtype)
    (tmp_path / "a.npy").write_bytes(npy(image))
    for source in (image, npy(image), base64.b64encode(npy(image)).decode(), tmp_path / "a.npy"):
        np.testing.assert_array_equal(to_array(source, kind), image)


def test_pictures_of_two_and_four_channels() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    np.testing.assert_array_equal(to_array(png(Image.fromarray(rgba)), ImageKind(channels=4)), rgba)
    np.testing.assert_array_equal(to_array(png(Image.fromarray(rgba[:, :, :2], "LA")), ImageKind(channels=2)), rgba[:, :, :2])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("planes", [False, True])
def test_tiff_files_of_any_depth_and_number_of_channels(dtype: Any, channels: int, planes: bool) -> None:
    tifffile = pytest.importorskip("tifffile")
    image = np.random.default_rng(0).integers(0, 256, (6, 8, channels)).astype(dtype)
    file = io.BytesIO()
    if planes and channels > 1:
        tifffile.imwrite(file, np.moveaxis(image, 2, 0), photometric="minisblack", planarconfig="separate")
    else:
        tifffile.imwrite(file, image, photometric="rgb" if channels == 3 else "minisblack")
    kind = ImageKind(channels=channels, dtype=dtype)
    if kind != ImageKind() or not planes:
        np.testing.assert_array_equal(to_array(file.getvalue(), kind), image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_files_are_turned_as_pillow_turns_them(orientation: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    image = np.random.default_rng(0).integers(0, 65536, (5, 7), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = io.BytesIO()
    Image.fromarray(image).save(picture, format="png", exif=exif)
    deep = io.BytesIO()
    tifffile.imwrite(deep, np.dstack([image] * 5), planarconfig="contig", photometric="minisblack", extratags=[(274, "H", 1, orientation, True)])
    expected = to_array(picture.getvalue(), ImageKind(channels=1, dtype="uint16"))
    np.testing.assert_array_equal(to_array(deep.getvalue(), ImageKind(channels=5, dtype="uint16"))[:, :, :1], expected)


def test_files_of_arrays_are_looked_for_where_pictures_cannot_hold_them() -> None:
    assert suffixes(ImageKind()) == SUFFIXES
    assert ".npy" in suffixes(ImageKind(channels=4))


def deep_colour_png() -> bytes:
    """A PNG of one pixel with three channels of 16 bits, which Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + b"\x12\x34" * 3)) + chunk(b"IEND", b"")


def test_depth_is_not_lost_unseen() -> None:
    assert to_array(deep_colour_png(), ImageKind()).tolist() == [[[0x12] * 3]]
    for kind in (ImageKind(dtype="uint16"), ImageKind(channels=1, dtype="float32"), ImageKind(channels=4, dtype="uint16")):
        with pytest.raises(InputError, match="several channels of 16 bits, of which 8 would be lost"):
            to_array(deep_colour_png(), kind)


def test_a_deep_tiff_asks_for_the_package_that_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(InputError, match=r"only the package tifffile reads in full; install it \(`pip install tifffile`\)"):
        to_array(png(Image.fromarray(RGB), "tiff"), ImageKind(channels=4))


@pytest.mark.parametrize(
    ("source", "kind", "sentence"),
    [
        (RGB, ImageKind(channels=5), "with 5 channels"),
        (png(Image.fromarray(RGB)), ImageKind(channels=4), "with 4 channels"),
        (np.zeros((4, 5, 2)), ImageKind(channels=1), "with 1, 3 or 4 channels"),
        (np.full((4, 5), -1), ImageKind(channels=1, dtype="uint16"), "from -1 to -1; give 16-bit"),
        (np.full((4, 5), 0.5), ImageKind(channels=1, dtype="uint16"), "float64 from 0.5"),
        (np.full((4, 5), np.nan), ImageKind(channels=1, dtype="float32"), "no finite numbers"),
        (np.full((4, 5), "a"), ImageKind(channels=1, dtype="float32"), "give numbers"),
        (npy(np.array([[None]], dtype=object)), ImageKind(), "no array of numbers"),
        (npy(RGB)[:150], ImageKind(), "damaged"),
    ],
)
def test_what_is_not_of_the_kind_gets_a_sentence(source: Any, kind: ImageKind, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        to_array(source, kind)


def chunk(name: bytes, content: bytes) -> bytes:
    """Of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(name: bytes, content: bytes) -> bytes:
    """A PNG file with a chunk behind its header."""
    whole = png(Image.fromarray(RGB))
    return whole[:33] + chunk(name, content) + whole[33:]


@pytest.mark.parametrize(
    "content",
    [
        with_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000))),  # a text of 100 MB
        with_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 8\nzz"),
        with_chunk(b"IHDR", b""),
        b"DDS " + bytes(200),
        b"\x01\xda" + bytes(600),  # SGI
        b"\0\0\0\x1cftypavif" + bytes(60),
        b"II*\0\x08\0\0\0\xff\xff" + bytes(range(200)),
        npy(RGB) + b"more",
        npy(np.zeros((1, 1), np.uint8)).replace(b"(1, 1), }        ", b"(1000000000000,1)}"),
        b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000,
        npy(np.array([["a"]])),
    ],
)
@pytest.mark.parametrize("kind", [ImageKind(), ImageKind(channels=5, dtype="float32")])
@pytest.mark.filterwarnings("ignore")
def test_any_error_of_a_decoder_is_a_sentence(content: bytes, kind: ImageKind) -> None:
    with pytest.raises(InputError, match=r"^The image .*\.$"):
        to_array(content, kind)


def test_a_photograph_of_two_frames_is_its_first() -> None:
    """MPO, as some telephones write it under the name .jpg."""
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "mpo", save_all=True, append_images=[Image.fromarray(RGB[::-1])], quality=95)
    assert to_array(file.getvalue(), ImageKind()).shape == RGB.shape


@pytest.mark.parametrize("source", [RGB, npy(RGB), png(Image.fromarray(RGB)), png(Image.fromarray(RGB), "tiff"), png(Image.fromarray(RGB), "jpeg")])
def test_more_pixels_than_are_taken(source: Any) -> None:
    assert to_array(source, ImageKind(), most_pixels=35).shape == RGB.shape
    with pytest.raises(TooLargeError, match=r"megapixels \(7x5\), and at most 3\.4e-05 are taken"):
        to_array(source, ImageKind(), most_pixels=34)


@pytest.mark.parametrize("shape", [(5, 7, 5), (5, 7, 9)])
def test_a_deep_tiff_of_more_pixels_or_channels_than_are_taken(shape: tuple[int, ...]) -> None:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros(shape, np.float32), photometric="minisblack", planarconfig="contig")
    with pytest.raises(TooLargeError, match=r"megapixels|million values"):
        to_array(file.getvalue(), ImageKind(channels=5, dtype="float32"), most_pixels=34 if shape[2] == 5 else 35)


def test_a_header_that_promises_too_much() -> None:
    with pytest.raises(TooLargeError, match="more than 179 megapixels"):
        to_array(vast(30000, 30000), ImageKind())


def vast(height: int, width: int) -> bytes:
    """A PNG file whose header promises that many pixels."""
    whole = png(Image.fromarray(RGB))
    return whole[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + whole[33:]


@pytest.mark.parametrize(("side", "most", "named"), [(30000, 64_000_000, "64"), (30000, 10**12, "179"), (8001, 64_000_000, "64")])
def test_the_limit_that_is_named_is_the_one_that_applies(side: int, most: int, named: str) -> None:
    with pytest.raises(TooLargeError, match=rf"(more than|at most) {named} (megapixels|are taken)"):
        to_array(vast(side, side), ImageKind(), most_pixels=most)


def test_what_pillow_finds_large_is_opened_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    with open_picture(vast(10000, 10000)) as image:
        assert image.size == (10000, 10000)
    assert not recwarn.list
    with pytest.warns(Image.DecompressionBombWarning):  # others are told as ever
        Image.open(io.BytesIO(vast(10000, 10000)))


@pytest.mark.parametrize("error", [MemoryError(), KeyError("a bug")])
def test_short_memory_is_no_damage(error: Exception) -> None:
    with pytest.raises(MemoryError if isinstance(error, MemoryError) else InputError), decoding("The image"):
        raise error


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_result_can_be_written_to(channels: int, dtype: Any) -> None:
    fixed = RGB.astype(dtype)
    fixed.flags.writeable = False
    kind = ImageKind(channels=channels, dtype=dtype, scale=255)
    for source in (npy(RGB), npy(RGB.astype(dtype)), npy(RGB[:, :, :1].astype(dtype)), png(Image.fromarray(RGB[:, :, 0])), fixed, fixed[:, :, 0]):
        found = to_array(source, kind)
        found[0, 0, 0] = 1
        assert found[0, 0, 0] == 1
    assert fixed[0, 0, 0] == RGB[0, 0, 0]


@pytest.mark.parametrize("value", [0, 9, 700])
def test_an_orientation_that_means_nothing_is_none(value: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    deep = np.arange(35, dtype=np.float32).reshape(5, 7)
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([deep] * 5, axis=2), photometric="minisblack", planarconfig="contig", extratags=[(274, "H", 1, value, True)])
    assert to_array(file.getvalue(), ImageKind(channels=5, dtype="float32"))[:, :, 0].tolist() == deep.tolist()
    assert read_header(file.getvalue(), "a.tif").orientation == 1
    exif = Image.Exif()
    exif[274] = value
    picture = io.BytesIO()
    Image.fromarray(RGB).save(picture, format="png", exif=exif)
    np.testing.assert_array_equal(to_array(picture.getvalue(), ImageKind()), RGB)
    assert read_header(picture.getvalue(), "a.png").orientation == 1


def test_a_large_image_takes_the_memory_of_a_few(tmp_path: Path) -> None:
    """64 megapixels in a file of 0.2 MB: 192 MB as an array, and Pillow's own 256 MB beside it."""
    Image.new("RGB", (8000, 8000), (9, 9, 9)).save(tmp_path / "large.png")
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from segline_runtime.images import to_array\n"
        "from segline_runtime.specification import ImageKind\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert to_array(Path(sys.argv[1]), ImageKind()).shape == (8000, 8000, 3)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "large.png")], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 700
