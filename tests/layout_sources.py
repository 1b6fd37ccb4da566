"""Tiny sources in the layouts of public data sets, with known pixels: 6x8, an object of 2x3 pixels at (1, 2), a second class in row 5, row 0 ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segline.data.formats.voc import palette

H, W = 6, 8
OBJECT = (slice(1, 3), slice(2, 5))
OTHER = slice(5, 6)


def save(file: Path, array: Any, dtype: type = np.uint8) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=dtype)).save(file)
    return file


def picture(file: Path) -> Path:
    return save(file, np.random.default_rng(list(file.name.encode())).integers(0, 255, (H, W, 3)))


def known(ignored: int, rest: int, shown: int, other: int) -> np.ndarray:
    """The mask of known pixels in the label values of a layout."""
    mask = np.full((H, W), rest)
    mask[0], mask[OTHER], mask[OBJECT] = ignored, other, shown
    return mask


def save_palette(file: Path, mask: Any, colours: list[tuple[int, int, int]]) -> Path:
    image = Image.fromarray(np.asarray(mask, dtype=np.uint8), mode="P")
    image.putpalette([value for colour in colours for value in colour])
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)
    return file


def write(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def square(x: int, y: int, width: int, height: int) -> list[list[int]]:
    """Corners of a block of pixels as Pillow draws it, which takes in the outline."""
    right, bottom = x + width - 1, y + height - 1
    return [[x, y], [right, y], [right, bottom], [x, bottom]]


# cityscapes: a car (26), of which a second object is a group; road (7); sky (23) below; row 0 is out of roi (3)


def make_cityscapes(root: Path, *, polygons: bool = False, masks: bool = True) -> Path:
    for split, city, number in (("train", "aachen", 0), ("train", "bochum", 1), ("val", "ulm", 2)):
        name = f"{city}_00000{number}_000019"
        picture(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
        truth = root / "gtFine" / split / city / f"{name}_gtFine"
        labels = known(3, 7, 26, 23)
        numbers = labels.copy()
        numbers[OBJECT] = 26001
        labels[4, 7] = numbers[4, 7] = 26  # a group
        if masks:
            save(Path(f"{truth}_labelIds.png"), labels)
            save(Path(f"{truth}_instanceIds.png"), numbers, np.uint16)
        if polygons or not masks:
            shapes = [
                ("road", square(0, 0, W, H)), ("out of roi", square(0, 0, W, 1)), ("sky", square(0, 5, W, 1)), ("car", square(0, 4, 1, 1)),
                ("road", square(0, 4, 1, 1)), ("car", square(2, 1, 3, 2)), ("cargroup", square(7, 4, 1, 1)), ("license plate", square(2, 1, 1, 1)),
            ]  # fmt: skip
            objects: list[dict[str, Any]] = [{"label": label, "polygon": polygon} for label, polygon in shapes]
            objects.append({"label": "sky", "polygon": square(0, 0, W, H), "deleted": 1})
            write(Path(f"{truth}_polygons.json"), {"imgHeight": H, "imgWidth": W, "objects": objects})
    return root


def make_kitti(root: Path) -> Path:
    for number in range(2):
        name = f"00000{number}_10.png"
        picture(root / "training" / "image_2" / name)
        labels = known(3, 7, 26, 23)
        numbers = 256 * labels
        numbers[OBJECT] += 1
        labels[4, 7], numbers[4, 7] = 26, 256 * 26  # a group
        save(root / "training" / "semantic" / name, labels)
        save(root / "training" / "instance" / name, numbers, np.uint16)
    picture(root / "testing" / "image_2" / "000000_10.png")
    return root


# ADE20K


def make_ade20k(root: Path) -> Path:
    for split, name in (("training", "ADE_train_00000001"), ("training", "ADE_train_00000002"), ("validation", "ADE_val_00000001")):
        picture(root / "ADEChallengeData2016" / "images" / split / f"{name}.jpg")
        save(root / "ADEChallengeData2016" / "annotations" / split / f"{name}.png", known(0, 1, 150, 3))
    return root


def make_ade20k_full(root: Path, *, release: int = 2021) -> Path:
    """wall is class 2978, its two objects numbers 1 and 2; sky 2420 is number 3; row 0 is no object."""
    for split in ("training", "validation"):
        image = picture(root / "images" / "ADE" / split / "urban" / "street" / f"ADE_{split}_00000001.jpg")
        codes, blue = known(0, 2978, 775, 2420), known(0, 40, 90, 170)
        segments = np.stack([codes // 256 * 10, codes % 256, blue], axis=2)
        save(image.with_name(f"{image.stem}_seg.png"), segments)
        names = [(2978, "wall"), (775, "door, double door"), (2420, "sky")]
        if release == 2021:
            objects = [{"id": i, "name": name, "name_ndx": code} for i, (code, name) in enumerate(names)]
            write(image.with_suffix(".json"), {"annotation": {"filename": image.name, "object": objects}})
        else:
            lines = [f'{i:03d} # 0 # 0 # {name} # {name} # ""' for i, (_, name) in enumerate(names, start=1)]
            write(image.with_name(f"{image.stem}_atr.txt"), "\n".join([*lines, '001 # 1 # 0 # knob # knob # ""']) + "\n")
    return root


# Mapillary Vistas: label 0 is a bird (a thing), 1 road, 2 sky, 3 unlabeled (not evaluated)


def make_mapillary(root: Path, *, version: str = "v2.0") -> Path:
    names = [("Bird", True, True), ("Road", False, True), ("Sky", False, True), ("Unlabeled", False, False)]
    labels = [{"name": f"x--{name}", "readable": name, "instances": thing, "evaluate": evaluate, "color": [0, 0, 0]} for name, thing, evaluate in names]
    write(root / {"v2.0": "config_v2.0.json", "v1.2": "config.json"}[version], {"labels": labels, "version": 1, "mapping": "", "folder_structure": {}})
    for split, name in (("training", "a"), ("training", "b"), ("validation", "c")):
        picture(root / split / "images" / f"{name}.jpg")
        place = root / split / version if version == "v2.0" else root / split
        mask = known(3, 1, 0, 2)
        numbers = 256 * mask
        numbers[1, 2] += 1  # a second bird
        save_palette(place / "labels" / f"{name}.png", mask, [(9, 9, 9), (1, 1, 1), (2, 2, 2), (3, 3, 3)])
        save(place / "instances" / f"{name}.png", numbers, np.uint16)
    return root


# Pascal VOC: 255 is a border; class 8 (cat) and 15 (person)


def make_voc(root: Path, *, colours: bool = False) -> Path:
    base = root / "VOCdevkit" / "VOC2012"
    for name in ("2007_000032", "2007_000033", "2007_000042", "2007_000099"):
        picture(base / "JPEGImages" / f"{name}.jpg")
        if name == "2007_000099":
            continue  # an image that nobody segmented
        mask, numbers = known(255, 0, 8, 15), known(255, 0, 1, 3)
        mask[1, 2], numbers[1, 2] = 8, 2  # a second cat
        if colours:
            table = np.array([*palette(255), (224, 224, 192)])
            save(base / "SegmentationClass" / f"{name}.png", table[mask])
            save(base / "SegmentationObject" / f"{name}.png", table[numbers])
        else:
            save_palette(base / "SegmentationClass" / f"{name}.png", mask, palette(256))
            save_palette(base / "SegmentationObject" / f"{name}.png", numbers, palette(256))
    write(base / "ImageSets" / "Segmentation" / "train.txt", "2007_000032\n2007_000033\n")
    write(base / "ImageSets" / "Segmentation" / "val.txt", "2007_000042\n")
    return root


def make_voc_boxes(root: Path) -> Path:
    for name in ("a", "b", "c"):
        picture(root / "JPEGImages" / f"{name}.jpg")
        shapes = [("cat", (3, 2, 5, 3), 0), ("person", (1, 6, 8, 6), 1)]
        objects = "".join(
            f"<object><name>{label}</name><difficult>{difficult}</difficult>"
            f"<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
            for label, box, difficult in shapes
        )
        write(root / "Annotations" / f"{name}.xml", f"<annotation><size><width>{W}</width><height>{H}</height><depth>3</depth></size>{objects}</annotation>")
    return root


# CamVid in colours


def make_camvid_colours(root: Path) -> Path:
    void, road, truck, sky = (0, 0, 0), (128, 64, 128), (192, 128, 192), (128, 128, 128)
    table = np.array([void, road, truck, sky])
    for name in ("0001TP_006690", "0001TP_006720", "Seq05VD_f00000"):
        picture(root / "701_StillsRaw_full" / f"{name}.png")
        save(root / "LabeledApproved_full" / f"{name}_L.png", table[known(0, 1, 2, 3)])
    lines = ["0 0 0\t\tVoid", "128 64 128\tRoad", "192 128 192\tTruck_Bus", "128 128 128\tSky", "64 0 128\tCar"]
    write(root / "label_colors.txt", "\r\n".join(lines) + "\r\n")
    return root


# ISBI 2012


def make_isbi2012(root: Path) -> Path:
    for name in ("00", "01", "02"):
        save(root / "images" / f"{name}.png", np.random.default_rng(int(name)).integers(0, 255, (H, W)))
        save(root / "masks" / f"{name}.png", known(0, 0, 255, 0))
    return root


def make_isbi2012_stacks(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 255, (H, W)).astype(np.uint8)) for _ in range(12)]
    labels = [Image.fromarray(known(0, 0, 255, 0).astype(np.uint8)) for _ in images]
    for name, pages in (("train-volume.tif", images), ("train-labels.tif", labels)):
        pages[0].save(root / name, save_all=True, append_images=pages[1:])
    return root
