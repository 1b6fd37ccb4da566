"""Images of every kind go through check, prepare and store as they are: 8-bit, 16-bit, grey, colour, and any number of channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segline.data.download import download
from segline.data.formats import catalog
from segline.data.images import Decoder, read_header
from segline.data.prepare import prepare
from segline.data.sources import Splits
from segline.data.store import PreparedDataset
from segline.errors import DataError
from segline_runtime.specification import ImageKind

H, W = 12, 16
COUNT = 4
GREY, GREY_16 = ImageKind(channels=1), ImageKind(channels=1, dtype="uint16", scale=65535.0)
RNG = np.random.default_rng(0)

BYTES = RNG.integers(0, 256, (COUNT, H, W, 5), dtype=np.uint8)
WORDS = RNG.integers(0, 65536, (COUNT, H, W, 5), dtype=np.uint16)
FLOATS = RNG.normal(100, 3, (COUNT, H, W, 5)).astype(np.float32)


def write(file, array):
    if file.suffix == ".npy":
        np.save(file, array)
    elif file.suffix == ".tif" and array.ndim == 3 and array.dtype != np.uint8:
        pytest.importorskip("tifffile").imwrite(file, array, photometric="minisblack", planarconfig="contig")
    else:
        Image.fromarray(array).save(file)


def source(root, arrays, suffix):
    """A Penn-Fudan folder of these arrays, each with one object."""
    for folder in ("PNGImages", "PedMasks"):
        (root / folder).mkdir(parents=True)
    for i, array in enumerate(arrays):
        write(root / "PNGImages" / f"im{i}{suffix}", array)
        mask = np.zeros((H, W), dtype=np.uint8)
        mask[2:5, 3:8] = 1
        Image.fromarray(mask).save(root / "PedMasks" / f"im{i}_mask.png")
    return root


def run(root, target, images="auto"):
    settings = catalog.get("pennfudan").Settings(source=str(root), images=images, splits=Splits(method="every", val=0.5, test=0))
    download(settings, root=root, seed=0, target=target / "raw")
    prepare(settings, raw=target / "raw", root=root, target=target / "prepared")
    return PreparedDataset(target / "prepared")


def repeated(arrays):
    return np.repeat(arrays, 3, axis=3)


CASES = {
    "8-bit RGB stays": (BYTES[..., :3], ".png", "auto", ImageKind(), BYTES[..., :3], ".png"),
    "8-bit grey is repeated": (BYTES[..., 0], ".png", "auto", ImageKind(), repeated(BYTES[..., :1]), ".png"),
    "8-bit grey stays grey": (BYTES[..., 0], ".png", "grey", GREY, BYTES[..., :1], ".png"),
    "8-bit grey as it is": (BYTES[..., 0], ".bmp", "as_is", GREY, BYTES[..., :1], ".png"),
    "transparency is dropped": (BYTES[..., :4], ".png", "auto", ImageKind(), BYTES[..., :3], ".png"),
    "four channels as they are": (BYTES[..., :4], ".png", "as_is", ImageKind(channels=4), BYTES[..., :4], ".npy"),
    "16-bit grey": (WORDS[..., 0], ".png", "auto", GREY_16, WORDS[..., :1], ".png"),
    "16-bit grey TIFF": (WORDS[..., 0], ".tif", "auto", GREY_16, WORDS[..., :1], ".png"),
    "16-bit grey made RGB": (WORDS[..., 0], ".png", "rgb", ImageKind(), repeated(WORDS[..., :1] // 257).astype(np.uint8), ".png"),
    "16-bit grey array": (WORDS[..., 0], ".npy", "grey", GREY_16, WORDS[..., :1], ".png"),
    "8-bit array of RGB": (BYTES[..., :3], ".npy", "auto", ImageKind(), BYTES[..., :3], ".png"),
    "five channels of 8 bits": (BYTES, ".npy", "auto", ImageKind(channels=5), BYTES, ".npy"),
    "five channels of 16 bits": (WORDS, ".npy", "auto", ImageKind(channels=5, dtype="uint16", scale=65535.0), WORDS, ".npy"),
    "TIFF of five channels": (WORDS, ".tif", "auto", ImageKind(channels=5, dtype="uint16", scale=65535.0), WORDS, ".npy"),
    "16-bit RGB TIFF": (WORDS[..., :3], ".tif", "auto", ImageKind(dtype="uint16", scale=65535.0), WORDS[..., :3], ".npy"),
    "floating point": (FLOATS, ".npy", "auto", ImageKind(channels=5, dtype="float32", scale=1.0), FLOATS, ".npy"),
    "floating-point TIFF": (FLOATS[..., 0], ".tif", "auto", ImageKind(channels=1, dtype="float32", scale=1.0), FLOATS[..., :1], ".npy"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_images_of_a_kind_keep_their_values(tmp_path, case):
    arrays, suffix, images, kind, expected, stored = case
    root = source(tmp_path / "root", arrays, suffix)
    data = run(root, tmp_path, images)
    assert data.info.image == kind
    splits = [data.split(name, ()) for name in data.info.counts]
    assert {Path(name).suffix for split in splits for name in split.names()} == {stored}
    found = [sample for name in data.info.counts for sample in data.split(name, ("index", "instances"))]
    assert len(found) == COUNT
    for sample in found:
        image = expected[int(sample.name[2:])]
        assert sample.image.dtype == kind.dtype and sample.image.shape == image.shape == (H, W, kind.channels)
        assert (sample.image == image).all() and sample.mask.shape == (H, W)
    train = expected[[int(sample.name[2:]) for sample in data.split("train", ())]].reshape(-1, kind.channels).astype(np.float64) / kind.scale
    assert np.allclose(data.info.mean, train.mean(axis=0), atol=1e-6) and np.allclose(data.info.std, train.std(axis=0), atol=1e-6)
    if suffix == stored == ".png" and arrays.dtype == kind.dtype:
        assert all(split.content(i) == (root / "PNGImages" / name).read_bytes() for split in splits for i, name in enumerate(split.names()))


def test_a_channel_that_is_constant_has_the_deviation_1(tmp_path):
    data = run(source(tmp_path / "root", np.full_like(WORDS, 6), ".npy"), tmp_path)
    assert data.info.std == (1.0,) * 5


@pytest.mark.parametrize("images", ["auto", "as_is"])
def test_images_must_be_of_one_kind(tmp_path, images):
    root = source(tmp_path / "root", BYTES[..., :3], ".png")
    (root / "PNGImages" / "im2.png").unlink()
    write(root / "PNGImages" / "im2.png", WORDS[0, ..., 0])
    with pytest.raises(DataError, match=r"im2\.png is an image of 16 bits per channel and 1 channel, but PNGImages/im0\.png .* of 8 bits .* 3 channels"):
        run(root, tmp_path, images)
    assert run(root, tmp_path, "rgb").info.image == ImageKind()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow, of the cut-off TIFF file
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda file: np.save(file, np.zeros((H, W), dtype=np.int64)), "values of type int64; save the image as uint8, uint16 or float32"),
        (lambda file: np.save(file, np.zeros((H, W, 2, 2), dtype=np.uint8)), "array of shape"),
        (lambda file: np.save(file, np.array([{}], dtype=object), allow_pickle=True), "array of shape|the type object"),
        (lambda file: np.save(file, np.full((H, W), np.nan, dtype=np.float32)), "no finite numbers"),
        (lambda file: file.write_bytes(b"\x93NUMPY\x01\x00\x10"), "cannot be decoded"),
        (lambda file: file.write_bytes(b"II*\x00 no more"), "cannot be decoded"),
        (lambda file: file.write_bytes(b"nothing"), r"cannot be decoded \(it is no image\)"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, content, sentence):
    file = tmp_path / "bad.npy"
    content(file)
    with pytest.raises(DataError, match=sentence) as caught:
        Decoder("auto")(file.read_bytes(), "bad.npy")
    assert caught.value.problems[0].startswith("bad.npy ")


def test_a_cut_off_array_is_refused(tmp_path):
    file = tmp_path / "cut.npy"
    np.save(file, WORDS[0])
    with pytest.raises(DataError, match=r"cut\.npy cannot be decoded"):
        Decoder("auto")(file.read_bytes()[:-10], "cut.npy")


def test_several_pictures_in_one_file(tmp_path):
    """Pages of a TIFF may be channels, if one says so; they are never silently one of them."""
    tifffile = pytest.importorskip("tifffile")
    pages = tmp_path / "pages.tif"
    tifffile.imwrite(pages, WORDS[0].transpose(2, 0, 1), photometric="minisblack")
    content = pages.read_bytes()
    with pytest.raises(DataError, match=r"holds 5 pictures in one file; save each as a file of its own\..*as_is"):
        Decoder("auto")(content, "pages.tif")
    assert (Decoder("as_is")(content, "pages.tif").pixels == WORDS[0]).all()
    for count in (2, 3):
        Image.fromarray(BYTES[0, ..., 0]).save(pages, save_all=True, append_images=[Image.fromarray(BYTES[0, ..., i]) for i in range(1, count)])
        content = pages.read_bytes()
        with pytest.raises(DataError, match=f"holds {count} pictures in one file"):
            Decoder("auto")(content, "pages.tif")
    with pytest.raises(DataError, match="holds 3 pictures in one file"):
        Decoder("as_is")(content, "pages.tif")
    moving = tmp_path / "moving.gif"
    Image.fromarray(BYTES[0, ..., 0]).save(moving, save_all=True, append_images=[Image.fromarray(BYTES[1, ..., 0])])
    with pytest.raises(DataError, match="holds 2 pictures in one file"):
        read_header(moving.read_bytes(), "moving.gif")


def test_depth_is_not_lost_unseen():
    """Pillow decodes 8 of the 16 bits of a colour PNG: refused where images are to stay as they are."""
    content = _deep_png()
    assert Decoder("auto")(content, "deep.png").pixels.dtype == np.uint8
    with pytest.raises(DataError, match="several channels of 16 bits"):
        Decoder("as_is")(content, "deep.png")


def _deep_png():
    import cv2

    return cv2.imencode(".png", WORDS[0, ..., :3])[1].tobytes()
