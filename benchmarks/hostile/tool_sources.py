"""Tiny sources as annotation tools export them, all of one scene whose pixels are known.

Two images of 24x32: `a` (train) shows a cat, above it a dog, a dog in two parts and a cat with a hole, as far as a format can say so; `b` (val) shows one cat.
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

H, W = 24, 32

Rect = tuple[int, int, int, int]
Mask = NDArray[np.bool_]

CAT, DOG = (2, 3, 12, 13), (8, 8, 16, 15)
PARTS = ((22, 2, 26, 6), (26, 16, 30, 22))
RING, HOLE = (2, 15, 10, 23), (4, 17, 8, 21)


def rect(x1: int, y1: int, x2: int, y2: int) -> Mask:
    """A box as a mask, by its upper left pixel and the one behind its last."""
    mask = np.zeros((H, W), dtype=np.bool_)
    mask[y1:y2, x1:x2] = True
    return mask


PARTED = rect(*PARTS[0]) | rect(*PARTS[1])
RINGED = rect(*RING) & ~rect(*HOLE)


@dataclass(frozen=True)
class Source:
    """A format's word, what makes a source below a folder, and the objects of image `a` in it: names and masks."""

    word: str
    make: Callable[[Path], Path]
    objects: tuple[tuple[str, Mask], ...]
    truths: tuple[str, ...] = ("index", "instances")


def corners(box: Rect) -> list[list[float]]:
    x1, y1, x2, y2 = box
    return [[float(x), float(y)] for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]


def rim(box: Rect) -> list[list[float]]:
    """Corners for tools whose shapes hold the pixels of their outlines."""
    x1, y1, x2, y2 = box
    return corners((x1, y1, x2 - 1, y2 - 1))


def flat(box: Rect) -> list[float]:
    return [value for point in corners(box) for value in point]


def save(file: Path, pixels: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(file)


def picture(file: Path) -> Path:
    save(file, np.random.default_rng(list(file.name.encode())).integers(0, 255, (H, W, 3)))
    return file


def write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))


def png_text(mask: Mask, *, packed: bool) -> str:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    content = stream.getvalue()
    return base64.b64encode(zlib.compress(content) if packed else content).decode()


def runs(values: NDArray[np.bool_]) -> list[int]:
    """Run lengths, beginning with False."""
    found = [(bool(value), len(list(run))) for value, run in groupby(values.tolist())]
    return [0] * (found[0][0] if found else 0) + [length for _, length in found]


def labelme(root: Path) -> Path:
    x1, y1, x2, y2 = RING
    shapes: dict[str, list[dict[str, Any]]] = {
        "a": [
            {"label": "cat", "points": rim(CAT), "group_id": None, "shape_type": "polygon", "flags": {}},
            {"label": "dog", "points": [[8, 8], [15, 14]], "group_id": None, "shape_type": "rectangle", "flags": {}},
            {"label": "dog", "points": rim(PARTS[0]), "group_id": 1, "shape_type": "polygon", "flags": {}},
            {"label": "dog", "points": rim(PARTS[1]), "group_id": 1, "shape_type": "polygon", "flags": {}},
            {
                "label": "cat",
                "points": [[x1, y1], [x2 - 1, y2 - 1]],
                "group_id": None,
                "shape_type": "mask",
                "mask": png_text(RINGED[y1:y2, x1:x2], packed=False),
            },
            {"label": "eye", "points": [[3, 3]], "group_id": None, "shape_type": "point", "flags": {}},
        ],
        "b": [{"label": "cat", "points": rim(CAT), "shape_type": "polygon"}],
    }
    for split, name in (("train", "a"), ("val", "b")):
        picture(root / split / f"{name}.png")
        content = {"version": "5.4.1", "flags": {}, "shapes": shapes[name], "imagePath": f"{name}.png", "imageData": None, "imageHeight": H, "imageWidth": W}
        write(root / split / f"{name}.json", content)
    return root


def via(root: Path) -> Path:
    """`a` in a project of version 2, `b` in annotations of version 1."""

    def region(name: str, box: Rect, kind: str = "polygon") -> dict[str, Any]:
        xs, ys = zip(*corners(box), strict=True)
        shape = {"name": kind, "all_points_x": list(xs), "all_points_y": list(ys)}
        return {"shape_attributes": shape, "region_attributes": {"kind": name}}

    dog = {"shape_attributes": {"name": "rect", "x": 8, "y": 8, "width": 8, "height": 7}, "region_attributes": {"kind": {"dog": True, "cat": False}}}
    line = {"shape_attributes": {"name": "polyline", "all_points_x": [1, 5, 9], "all_points_y": [1, 2, 1]}, "region_attributes": {"kind": "tail"}}
    regions = [region("cat", CAT), dog, line]
    images = {"a.png123": {"filename": "a.png", "size": 123, "regions": regions, "file_attributes": {}}}
    picture(root / "train" / "a.png")
    picture(root / "val" / "b.png")
    write(root / "train" / "project.json", {"_via_settings": {"project": {"name": "p"}}, "_via_img_metadata": images, "_via_attributes": {"region": {}}})
    write(root / "val" / "via_region_data.json", {"b.png9": {"filename": "b.png", "size": 9, "regions": {"0": region("cat", CAT)}, "file_attributes": {}}})
    return root


def labelbox(root: Path) -> Path:
    def polygon(box: Rect) -> list[dict[str, float]]:
        return [{"x": x, "y": y} for x, y in rim(box)]

    objects: dict[str, list[dict[str, Any]]] = {
        "a": [
            {"feature_id": "f1", "name": "cat", "annotation_kind": "ImagePolygon", "polygon": polygon(CAT)},
            {"feature_id": "f2", "name": "dog", "annotation_kind": "ImageBoundingBox", "bounding_box": {"top": 8.0, "left": 8.0, "height": 6.0, "width": 7.0}},
            {
                "feature_id": "f3",
                "name": "cat",
                "annotation_kind": "ImageSegmentationMask",
                "mask": {"url": "https://api.labelbox.com/api/v1/tasks/1/masks/f3"},
            },
            {"feature_id": "f4", "name": "nose", "annotation_kind": "ImagePoint", "point": {"x": 1.0, "y": 2.0}},
        ],
        "b": [{"feature_id": "f5", "name": "cat", "annotation_kind": "ImagePolygon", "polygon": polygon(CAT)}],
    }
    lines = []
    for split, name in (("train", "a"), ("val", "b")):
        picture(root / split / f"{name}.png")
        row = {"id": f"r{name}", "external_id": f"{name}.png", "global_key": f"k{name}", "row_data": f"https://storage.labelbox.com/{name}.png?token=1"}
        annotations = {"objects": objects[name], "classifications": [], "relationships": []}
        project = {"name": "p", "labels": [{"label_kind": "Default", "version": "1.0.0", "annotations": annotations}]}
        lines.append(json.dumps({"data_row": row, "media_attributes": {"height": H, "width": W}, "projects": {"cl1": project}}))
    save(root / "masks" / "f3.png", RINGED * 255)
    write(root / "export.ndjson", "\n".join(lines) + "\n")
    return root


def cvat(root: Path) -> Path:
    def points(box: Rect) -> str:
        return ";".join(f"{x:.2f},{y:.2f}" for x, y in corners(box))

    x1, y1, x2, y2 = RING
    ring = ", ".join(str(run) for run in runs(RINGED[y1:y2, x1:x2].ravel()))
    first = (
        '<box label="dog" source="manual" occluded="0" xtl="8.00" ytl="8.00" xbr="16.00" ybr="15.00" z_order="1"></box>'
        f'<polygon label="cat" source="manual" occluded="0" points="{points(CAT)}" z_order="0"></polygon>'
        f'<polygon label="dog" points="{points(PARTS[0])}" z_order="0" group_id="3"></polygon>'
        f'<polygon label="dog" points="{points(PARTS[1])}" z_order="0" group_id="3"></polygon>'
        f'<mask label="cat" occluded="0" rle="{ring}" left="{x1}" top="{y1}" width="{x2 - x1}" height="{y2 - y1}" z_order="0"></mask>'
        '<points label="cat" points="3.0,3.0"></points>'
    )
    images = [
        f'<image id="0" name="a.png" subset="train" width="{W}" height="{H}">{first}</image>',
        f'<image id="1" name="b.png" subset="val" width="{W}" height="{H}"><polygon label="cat" points="{points(CAT)}" z_order="0"/></image>',
    ]
    labels = "".join(f"<label><name>{name}</name><color>#ff0000</color></label>" for name in ("cat", "dog"))
    head = f"<version>1.1</version><meta><task><name>t</name><labels>{labels}</labels></task></meta>"
    write(root / "annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{head}{"".join(images)}</annotations>\n')
    picture(root / "images" / "train" / "a.png")
    picture(root / "images" / "val" / "b.png")
    return root


def supervisely(root: Path) -> Path:
    x1, y1, x2, y2 = 22, 2, 30, 22
    objects: dict[str, list[dict[str, Any]]] = {
        "a": [
            {"classTitle": "cat", "geometryType": "polygon", "points": {"exterior": rim(CAT), "interior": []}, "tags": []},
            {"classTitle": "dog", "geometryType": "rectangle", "points": {"exterior": [[8, 8], [15, 14]], "interior": []}},
            {"classTitle": "dog", "bitmap": {"data": png_text(PARTED[y1:y2, x1:x2], packed=True), "origin": [x1, y1]}},
            {"classTitle": "cat", "geometryType": "polygon", "points": {"exterior": rim(RING), "interior": [rim(HOLE)]}},
            {"classTitle": "cat", "geometryType": "point", "points": {"exterior": [[1, 1]], "interior": []}},
        ],
        "b": [{"classTitle": "cat", "geometryType": "polygon", "points": {"exterior": rim(CAT), "interior": []}}],
    }
    classes = [{"title": "cat", "shape": "any", "color": "#FF0000"}, {"title": "dog", "shape": "bitmap", "color": "#00FF00"}]
    write(root / "meta.json", {"classes": classes, "tags": []})
    for split, name in (("train", "a"), ("val", "b")):
        picture(root / split / "img" / f"{name}.png")
        write(root / split / "ann" / f"{name}.png.json", {"description": "", "tags": [], "size": {"height": H, "width": W}, "objects": objects[name]})
    return root


def yolo(root: Path) -> Path:
    def line(number: int, box: Rect) -> str:
        return " ".join([str(number), *(repr(value / side) for x, y in corners(box) for value, side in ((x, W), (y, H)))])

    lines = {"a": [line(0, CAT), line(1, DOG)], "b": [line(0, CAT)]}
    for split, name in (("train", "a"), ("val", "b")):
        picture(root / "images" / split / f"{name}.png")
        write(root / "labels" / split / f"{name}.txt", "\n".join(lines[name]) + "\n")
    write(root / "data.yaml", "path: ../datasets/root\ntrain: images/train\nval: images/val\ntest:\nnames:\n  0: cat\n  1: dog\n")
    return root


def deepfashion2(root: Path) -> Path:
    def item(category: int, *boxes: Rect) -> dict[str, Any]:
        x1, y1, x2, y2 = boxes[0]
        return {"category_id": category, "category_name": "?", "segmentation": [flat(box) for box in boxes], "bounding_box": [x1, y1, x2, y2], "style": 1}

    items = {"a": {"item1": item(1, CAT), "item2": item(8, DOG), "item3": item(8, *PARTS)}, "b": {"item1": item(1, CAT)}}
    for split, name in (("train", "a"), ("validation", "b")):
        picture(root / split / "image" / f"{name}.jpg")
        write(root / split / "annos" / f"{name}.json", {"source": "shop", "pair_id": 1, **items[name]})
    return root


def roboflow(root: Path) -> Path:
    for split, name in (("train", "a"), ("valid", "b")):
        picture(root / split / f"{name}.jpg")
        mask = rect(*CAT).astype(np.uint8)
        mask[rect(*DOG) & (name == "a")] = 2
        save(root / split / f"{name}_mask.png", mask)
        write(root / split / "_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
    return root


def panoptic(root: Path) -> Path:
    """COCO's panoptic annotations: a lawn (stuff), cats and a dog; the rest is nothing."""
    categories = [{"id": 3, "name": "cat", "isthing": 1}, {"id": 9, "name": "dog", "isthing": 1}, {"id": 120, "name": "lawn", "isthing": 0}]
    segments: dict[str, list[tuple[int, int, Mask]]] = {
        "a": [(120, 70_000, rect(0, 0, W, 2)), (3, 300, rect(*CAT)), (9, 7, rect(*DOG)), (9, 8, PARTED), (3, 9, RINGED)],
        "b": [(3, 300, rect(*CAT))],
    }
    for split, name in (("train", "a"), ("val", "b")):
        picture(root / f"{split}2017" / f"{name}.jpg")
        ids = np.zeros((H, W), dtype=np.int64)
        for _, number, mask in segments[name]:
            ids[mask] = number
        save(root / "annotations" / f"panoptic_{split}2017" / f"{name}.png", np.stack([ids % 256, ids // 256 % 256, ids // 65_536], axis=2))
        info = [{"id": number, "category_id": category, "iscrowd": 0, "area": int((ids == number).sum())} for category, number, _ in segments[name]]
        images = [{"id": 1, "file_name": f"{name}.jpg", "height": H, "width": W}]
        annotations = [{"image_id": 1, "file_name": f"{name}.png", "segments_info": info}]
        write(root / "annotations" / f"panoptic_{split}2017.json", {"images": images, "annotations": annotations, "categories": categories})
    return root


_TWO = (("cat", rect(*CAT)), ("dog", rect(*DOG)))
_ALL = (*_TWO, ("dog", PARTED), ("cat", RINGED))

SOURCES = (
    Source("cvat", cvat, _ALL),
    Source("deepfashion2", deepfashion2, (("short sleeve top", rect(*CAT)), ("trousers", rect(*DOG)), ("trousers", PARTED))),
    Source("labelbox", labelbox, (*_TWO, ("cat", RINGED))),
    Source("labelme", labelme, _ALL),
    Source("roboflow", roboflow, _TWO, ("index",)),
    Source("supervisely", supervisely, _ALL),
    Source("via", via, _TWO),
    Source("yolo", yolo, _TWO),
)
