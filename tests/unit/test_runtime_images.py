"""What people send as an image, and what they are told when it is none."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segline_runtime.images import InputError, to_rgb

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
