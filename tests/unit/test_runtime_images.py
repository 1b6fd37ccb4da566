"""What people send as an image, and what they are told when it is none."""

from __future__ import annotations

import base64
import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segline_runtime.images import SUFFIXES, InputError, suffixes, to_array, to_rgb
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
        np.testing.assert_array_equal(to_rgb(source), RGB)


def test_grey_palette_and_transparency() -> None:
    grey = Image.fromarray(RGB).convert("L")
    expected = np.repeat(np.asarray(grey)[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(to_rgb(png(grey)), expected)
    np.testing.assert_array_equal(to_rgb(np.asarray(grey)), expected)
    np.testing.assert_array_equal(to_rgb(np.asarray(grey)[:, :, None]), expected)
    palette = Image.fromarray(RGB).quantize(4)
    np.testing.assert_array_equal(to_rgb(png(palette)), np.asarray(palette.convert("RGB")))
    rgba = np.dstack([RGB, np.full((5, 7), 30, np.uint8)])
    np.testing.assert_array_equal(to_rgb(png(Image.fromarray(rgba))), RGB)
    np.testing.assert_array_equal(to_rgb(rgba), RGB)
    assert np.asarray(Image.fromarray(RGB).convert("1").convert("RGB")).tolist() == to_rgb(png(Image.fromarray(RGB).convert("1"))).tolist()


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_are_scaled_not_cut(kind: str) -> None:
    deep = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    assert to_rgb(png(Image.fromarray(deep), kind))[0, :, 0].tolist() == [0, 1, 128, 255]
    assert to_rgb(deep)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_camera_held_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, format="png", exif=exif)
    assert to_rgb(file.getvalue()).shape == (7, 5, 3)


def test_one_pixel() -> None:
    assert to_rgb(png(Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]


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
        to_rgb(source)  # type: ignore[arg-type]


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
    assert to_rgb(deep_colour_png()).tolist() == [[[0x12] * 3]]
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
