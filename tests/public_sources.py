"""Tiny copies of public data sets, in the layouts of their archives, for the formats that no tool writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from layout_sources import make_voc
from PIL import Image
from scipy.io import savemat

H, W = 6, 8


def _save(file: Path, array: np.ndarray, **keys: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file, **keys)


def _picture(file: Path) -> None:
    _save(file, np.random.default_rng(sum(file.name.encode())).integers(0, 255, (H, W, 3), dtype=np.uint8))


def make_camvid(root: Path) -> Path:
    """SegNet's CamVid, whose lists name the folders of another machine."""
    for split, names in (("train", "ab"), ("val", "c")):
        for name in names:
            _picture(root / split / f"{name * 3}{split}.png")
            _save(root / f"{split}annot" / f"{name * 3}{split}.png", np.full((H, W), ord(name) % 12, np.uint8))
        (root / f"{split}.txt").write_text(
            "".join(f"/SegNet/CamVid/{split}/{n * 3}{split}.png /SegNet/CamVid/{split}annot/{n * 3}{split}.png\n" for n in names)
        )
    return root


def make_oxford_pet(root: Path) -> Path:
    """Two cats of one breed and a dog of another; the cat's list has comments, as the archive's `list.txt` has."""
    for name in ("Abyssinian_1", "Abyssinian_2", "great_pyrenees_7"):
        _picture(root / "images" / f"{name}.jpg")
        trimap = np.full((H, W), 2, np.uint8)
        trimap[1:4, 1:5], trimap[4, 1:5] = 1, 3
        _save(root / "annotations" / "trimaps" / f"{name}.png", trimap)
    (root / "annotations" / "trimaps" / "._Abyssinian_1.png").write_bytes(b"left by a Mac")
    (root / "annotations" / "trainval.txt").write_text("#Image CLASS-ID SPECIES BREED ID\nAbyssinian_1 1 1 1\ngreat_pyrenees_7 16 2 8\n")
    (root / "annotations" / "test.txt").write_text("Abyssinian_2 1 1 1\n")
    return root


def make_ctc(root: Path, films: Sequence[str] = ("01", "02")) -> Path:
    """Films of three frames, of which the first and the last have a mask."""
    for film in films:
        for i in range(3):
            _save_grey(root / film / f"t{i:03d}.tif")
        for i in (0, 2):
            cells = np.zeros((H, W), np.uint16)
            cells[:2, :3], cells[3:, 4:] = 1, 300 + i
            _save(root / f"{film}_GT" / "SEG" / f"man_seg{i:03d}.tif", cells)
        _save(root / f"{film}_GT" / "TRA" / "man_track000.tif", np.zeros((H, W), np.uint16))
    return root


def _save_grey(file: Path) -> None:
    _save(file, np.random.default_rng(list(f"{file.parent.name}/{file.name}".encode())).integers(0, 255, (H, W), dtype=np.uint8))


def make_bsds500(root: Path) -> Path:
    """An image in each split, with four people of whom all draw row 1, two row 2, and one row 3."""
    for split, name in (("train", "100"), ("val", "200"), ("test", "300")):
        _picture(root / "BSR" / "BSDS500" / "data" / "images" / split / f"{name}.jpg")
        people = np.empty((1, 4), object)
        for i in range(4):
            drawn = np.zeros((H, W), np.uint8)
            drawn[1], drawn[2], drawn[3] = 1, i < 2, i < 1
            people[0, i] = {"Segmentation": np.ones((H, W), np.uint16), "Boundaries": drawn}
        file = root / "BSR" / "BSDS500" / "data" / "groundTruth" / split / f"{name}.mat"
        file.parent.mkdir(parents=True, exist_ok=True)
        savemat(file, {"groundTruth": people})
    return root


def make_carvana(root: Path) -> Path:
    """Two cars from two sides."""
    for car in ("0cdf5b5d0ce1", "fff9b3a5373f"):
        for side in ("01", "02"):
            _picture(root / "train" / f"{car}_{side}.jpg")
            mask = Image.fromarray(np.pad(np.ones((2, 3), np.uint8), ((1, 3), (2, 3))), mode="P")
            mask.putpalette([0, 0, 0, 255, 255, 255])
            (root / "train_masks").mkdir(exist_ok=True)
            mask.save(root / "train_masks" / f"{car}_{side}_mask.gif")
    return root


def make_voc_sbd(root: Path) -> Path:
    """VOC's three images, and in SBD one of them again and two others."""
    make_voc(root)
    own = sorted(file.stem for file in (root / "VOCdevkit" / "VOC2012" / "JPEGImages").iterdir())
    base = root / "benchmark_RELEASE" / "dataset"
    for folder in ("img", "cls", "inst"):
        (base / folder).mkdir(parents=True)
    for name in (own[0], "2008_1", "2008_2"):
        _picture(base / "img" / f"{name}.jpg")
        labels, numbers = np.zeros((H, W), np.uint8), np.zeros((H, W), np.uint8)
        labels[:2], numbers[0], numbers[1] = 15, 1, 2
        labels[4, :3], numbers[4, :3] = 7, 3
        savemat(base / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": labels, "Boundaries": np.zeros((20, 1))}})
        savemat(base / "inst" / f"{name}.mat", {"GTinst": {"Segmentation": numbers, "Categories": np.array([[15], [15], [7]], np.uint8)}})
    (base / "train.txt").write_text(f"{own[0]}\n2008_1\n")
    (base / "val.txt").write_text("2008_2\n")
    return root
