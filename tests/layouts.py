"""Tiny folders of annotated images in many layouts, all of the same scenes: what a user may own, with the truth that is to come out.

A scene is noise with two discs (class 1) and, in every second one, a square (class 2); `truth` holds the class ids, `numbers` those of the objects.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

COUNT = 12
H, W = 48, 64
COLOURS = ((0, 0, 0), (64, 0, 128), (0, 192, 0))


@dataclass(frozen=True)
class Scene:
    """One image with its truth, and the split that it has where a layout has splits."""

    name: str
    split: str
    image: NDArray[np.uint8]  # (H, W, 3)
    truth: NDArray[np.uint8]  # (H, W) class ids
    numbers: NDArray[np.uint8]  # (H, W) numbers of objects

    @property
    def binary(self) -> NDArray[np.uint8]:
        return (self.truth > 0).astype(np.uint8)


def scenes(count: int = COUNT) -> list[Scene]:
    rows, columns = np.mgrid[:H, :W]
    found = []
    for i in range(count):
        rng = np.random.default_rng(i)
        disc = (rows - 16) ** 2 + (columns - 14 - i) ** 2 < (8 + i % 3) ** 2
        small = (rows - 38) ** 2 + (columns - 12) ** 2 < 30
        square = (rows >= 30) & (rows < 42) & (columns >= 40) & (columns < 40 + 8 + i) if i % 2 else np.zeros((H, W), bool)
        truth = np.where(square, 2, np.where(disc | small, 1, 0)).astype(np.uint8)
        numbers = np.where(square, 3, np.where(small, 2, np.where(disc, 1, 0))).astype(np.uint8)
        image = (rng.integers(0, 90, (H, W, 3)) + 60 * truth[..., None]).astype(np.uint8)
        split = "test" if i % 6 == 5 else "val" if i % 6 == 4 else "train"
        found.append(Scene(f"{7 * i + 3:03d}", split, image, truth, numbers))
    return found


def save(file: Path, array: NDArray[np.generic] | Image.Image, **keys: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(file, **keys)  # type: ignore[arg-type]


def coloured(truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.array(COLOURS, np.uint8)[truth]


def palette(truth: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(truth)
    image.putpalette([200, 30, 30, 10, 250, 10, 5, 5, 250] + [255, 255, 255] * 253)
    return image


@dataclass(frozen=True)
class Layout:
    """One way in which people have such data on disk."""

    word: str
    make: Callable[[Path], None]
    format: str = "masks"
    classes: tuple[str, ...] = ("background", "class_1", "class_2")
    truth: Callable[[Scene], NDArray[np.uint8]] = field(default=lambda scene: scene.truth)
    official: bool = False
    models: tuple[str, ...] = ("unet",)
    most_wrong: float = 0.0  # share of the pixels of truth that a lossy layout may get wrong


BINARY = ("background", "foreground")


def _binary(root: Path) -> None:
    for scene in scenes():
        save(root / "images" / f"{scene.name}.jpg", scene.image)
        save(root / "masks" / f"{scene.name}.png", scene.binary * np.uint8(255))


def _folder_per_split(root: Path) -> None:
    for scene in scenes():
        folder = {"train": "train", "val": "valid", "test": "test"}[scene.split]
        save(root / folder / "images" / f"{scene.name}.png", scene.image)
        save(root / folder / "masks" / f"{scene.name}.png", scene.truth)


def _split_below(root: Path) -> None:
    for scene in scenes():
        split = {"train": "training", "val": "validation", "test": "testing"}[scene.split]
        save(root / "images" / split / f"{scene.name}.jpg", scene.image)
        if scene.split != "test":  # as challenges keep it back
            save(root / "labels" / split / f"{scene.name}.png", scene.truth)


def _suffix(root: Path) -> None:
    for scene in scenes():
        save(root / f"{scene.name}.jpg", scene.image)
        save(root / f"{scene.name}_mask.png", scene.binary)


def _types(root: Path) -> None:
    for scene in scenes():
        save(root / "data" / f"{scene.name}.jpg", scene.image)
        save(root / "data" / f"{scene.name}.png", scene.truth)


def _cities(root: Path) -> None:
    for i, scene in enumerate(scenes()):
        city = ("aachen", "bremen", "celle")[i % 3]
        save(root / "leftImg" / city / f"{city}_{scene.name}_leftImg.png", scene.image)
        save(root / "label" / city / f"{city}_{scene.name}_label.png", scene.truth)
        save(root / "label" / city / f"{city}_{scene.name}_colour.png", coloured(scene.truth))


def _coloured_with_list(root: Path) -> None:
    for scene in scenes():
        save(root / "img" / f"{scene.name}.png", scene.image)
        save(root / "seg" / f"{scene.name}_L.png", coloured(scene.truth))
    (root / "class_dict.csv").write_text("name,r,g,b\nGround,0,0,0\nDisc,64,0,128\nSquare,0,192,0\nNever Seen,9,9,9\n")


def _coloured(root: Path) -> None:
    for scene in scenes():
        save(root / "x" / f"{scene.name}.png", scene.image)
        save(root / "y" / f"{scene.name}.png", Image.fromarray(coloured(scene.truth)).convert("RGBA"))


def _palette_with_list(root: Path) -> None:
    for scene in scenes():
        save(root / "JPEGImages" / f"img_{scene.name}.jpg", scene.image)
        save(root / "Masks" / f"mask_{scene.name}.png", palette(scene.truth))
    (root / "labels.txt").write_text("ground\ndisc\nblue square\n")


def _numbered(root: Path) -> None:
    for scene in scenes():
        save(root / "train" / "image" / f"{scene.name}.tif", scene.image)
        save(root / "train" / "label" / f"{scene.name}.png", scene.numbers.astype(np.uint16))


def _arrays(root: Path) -> None:
    for scene in scenes():
        save(root / "images" / f"{scene.name}.png", scene.image)
        (root / "targets").mkdir(exist_ok=True)
        np.save(root / "targets" / f"{scene.name}.npy", scene.truth.astype(np.int64))


def _lossy(root: Path) -> None:
    for scene in scenes():
        save(root / "images" / f"{scene.name}.jpg", scene.image)
        save(root / "mask" / f"{scene.name}.jpg", scene.binary * np.uint8(255), quality=80)


def _folder_each(root: Path) -> None:
    for scene in scenes():
        save(root / f"patient{scene.name}" / "image.png", scene.image)
        save(root / f"patient{scene.name}" / "mask.png", scene.binary * np.uint8(255))


def _void(root: Path) -> None:
    for scene in scenes():
        truth = scene.truth.copy()
        truth[:2] = 255
        save(root / "photos" / f"{scene.name}.jpg", scene.image)
        save(root / "annotations" / f"{scene.name}.png", palette(truth))


def _with_void(scene: Scene) -> NDArray[np.uint8]:
    truth = scene.truth.copy()
    truth[:2] = 255
    return truth


def _renamed(root: Path) -> None:
    """As `images/` and `masks/`, shuffled: names that say nothing, folders in folders, the masks first in the alphabet."""
    order = np.random.default_rng(3).permutation(COUNT)
    for scene, place in zip(scenes(), order, strict=True):
        save(root / "export 2" / "b" / f"K{place:04d}-{scene.name}.png", scene.image)
        save(root / "export 2" / "a" / f"K{place:04d}-{scene.name}.bmp", scene.truth)


def _camvid(root: Path) -> None:
    for scene in scenes():
        save(root / scene.split / f"{scene.name}.png", scene.image)
        save(root / f"{scene.split}annot" / f"{scene.name}.png", scene.truth)


def _camvid_binary(root: Path) -> None:
    for scene in scenes():
        save(root / scene.split / f"{scene.name}.png", scene.image)
        save(root / f"{scene.split}annot" / f"{scene.name}.png", scene.binary)


def _pennfudan(root: Path) -> None:
    for scene in scenes():
        save(root / "PNGImages" / f"{scene.name}.png", scene.image)
        save(root / "PedMasks" / f"{scene.name}_mask.png", scene.numbers)


def _coco(root: Path) -> None:
    for split in ("train", "val", "test"):
        images, annotations = [], []
        for i, scene in enumerate(one for one in scenes() if one.split == split):
            save(root / split / f"{scene.name}.png", scene.image)
            images.append({"id": i, "file_name": f"{scene.name}.png", "height": H, "width": W})
            for number in sorted({int(v) for v in np.unique(scene.numbers)} - {0}):
                shown = scene.numbers == number
                encoded, label = rle.encode(np.asfortranarray(shown)), int(scene.truth[shown][0])
                outline = {"size": [H, W], "counts": encoded["counts"].decode()}
                annotations.append({"id": len(annotations) + 1, "image_id": i, "category_id": label, "segmentation": outline, "iscrowd": 0})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}]}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def _coco_without_splits(root: Path) -> None:
    _coco(root / "several")
    images, annotations = [], []
    for file in sorted((root / "several" / "annotations").iterdir()):
        part = json.loads(file.read_text())
        split = file.stem.partition("_")[2]
        for image in part["images"]:
            (root / "images").mkdir(exist_ok=True)
            (root / "several" / split / image["file_name"]).rename(root / "images" / image["file_name"])
            images.append(image | {"id": f"{split}{image['id']}"})
        annotations += [a | {"id": len(annotations) + i, "image_id": f"{split}{a['image_id']}"} for i, a in enumerate(part["annotations"])]
        categories = part["categories"]
    shutil.rmtree(root / "several")
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_all.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def _coco_of_any_name(root: Path) -> None:
    """One annotation file, called as somebody liked, in the folder of the images."""
    _coco_without_splits(root)
    (root / "images").rename(root / "fruit")
    (root / "annotations" / "instances_all.json").rename(root / "fruit" / "my labels v3.json")
    (root / "annotations").rmdir()


def _mask_per_class(root: Path) -> None:
    for scene in scenes():
        save(root / "images" / f"{scene.name}.jpg", scene.image)
        for i, name in ((1, "disc"), (2, "red square")):
            save(root / "masks" / f"{scene.name}_{name}.png", (scene.truth == i).astype(np.uint8) * np.uint8(255))


def _folder_per_class(root: Path) -> None:
    for scene in scenes():
        folder = {"train": "train", "val": "valid", "test": "test"}[scene.split]
        save(root / folder / "img" / f"{scene.name}.jpg", scene.image)
        for i, name in ((1, "disc"), (2, "square")):
            if (scene.truth == i).any():
                save(root / folder / "gt" / name / f"{scene.name}.png", (scene.truth == i).astype(np.uint8))


def _mask_per_object(root: Path) -> None:
    """As the Data Science Bowl of 2018 has them."""
    for scene in scenes():
        save(root / scene.name / "images" / f"{scene.name}.png", scene.image)
        for number in (n for n in range(1, 4) if (scene.numbers == n).any()):
            save(root / scene.name / "masks" / f"{97 * number:04x}{scene.name}.png", (scene.numbers == number).astype(np.uint8) * np.uint8(255))


def _numbered_objects(root: Path) -> None:
    for scene in scenes():
        save(root / "data" / f"{scene.name}.png", scene.image)
        for number in (n for n in range(1, 4) if (scene.numbers == n).any()):
            save(root / "data" / f"{scene.name}_mask{number}.png", (scene.numbers == number).astype(np.uint8) * np.uint8(255))


LAYOUTS = (
    Layout("binary", _binary, classes=BINARY, truth=lambda scene: scene.binary),
    Layout("folder-per-split", _folder_per_split, official=True),
    Layout("split-below", _split_below, official=True),
    Layout("suffix", _suffix, classes=("background", "class_1"), truth=lambda scene: scene.binary),
    Layout("types", _types),
    Layout("cities", _cities),
    Layout("coloured-with-list", _coloured_with_list, classes=("Ground", "Disc", "Square", "Never Seen")),
    Layout("coloured", _coloured, classes=("background", "colour_00c000", "colour_400080"), truth=lambda scene: np.array([0, 2, 1], np.uint8)[scene.truth]),
    Layout("palette-with-list", _palette_with_list, classes=("ground", "disc", "blue square")),
    Layout("numbered", _numbered, classes=("background", "object"), truth=lambda scene: scene.binary, models=("unet", "maskrcnn")),
    Layout("arrays", _arrays),
    Layout("lossy", _lossy, classes=BINARY, truth=lambda scene: scene.binary, most_wrong=0.03),
    Layout("folder-each", _folder_each, classes=BINARY, truth=lambda scene: scene.binary),
    Layout("mask-per-class", _mask_per_class, classes=("background", "disc", "red square")),
    Layout("folder-per-class", _folder_per_class, classes=("background", "disc", "square"), official=True),
    Layout("mask-per-object", _mask_per_object, classes=("background", "object"), truth=lambda scene: scene.binary, models=("unet", "maskrcnn")),
    Layout("numbered-objects", _numbered_objects, classes=("background", "object"), truth=lambda scene: scene.binary, models=("unet", "maskrcnn")),
    Layout("void", _void, truth=_with_void),
    Layout("renamed", _renamed),
    Layout("camvid", _camvid, format="camvid", official=True),
    Layout("camvid-binary", _camvid_binary, format="camvid", classes=("background", "class_1"), truth=lambda scene: scene.binary, official=True),
    Layout("pennfudan", _pennfudan, format="pennfudan", classes=("background", "person"), truth=lambda scene: scene.binary, models=("unet", "maskrcnn")),
    Layout("coco", _coco, format="coco", classes=("background", "disc", "square"), official=True, models=("unet", "maskrcnn")),
    Layout("coco-of-any-name", _coco_of_any_name, format="coco", classes=("background", "disc", "square"), models=("unet", "maskrcnn")),
    Layout("coco-one-file", _coco_without_splits, format="coco", classes=("background", "disc", "square"), models=("unet", "maskrcnn")),
)
