"""Sources of random shapes in each tool's files: what lies on pixels' corners, between them and beyond the image, above and below one another."""

from __future__ import annotations

import base64
import io
import json
import math
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

OBJECTS = 14
"""On one image, each of a class of its own but for the parts of groups."""

Random = np.random.Generator
Points = list[list[float]]


def polygon(random: Random, size: tuple[int, int]) -> Points:
    """A star around a middle that may lie near the border; of every seventh, corners in any order, so that it crosses itself."""
    height, width = size
    number = int(random.integers(3, 12))
    turns = np.sort(random.uniform(0, 2 * math.pi, number))
    radii = random.uniform(2, 0.45 * height, number)
    middle = random.uniform((0, 0), (width, height))
    points = middle + radii[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    if random.random() < 1 / 7:
        points = random.permutation(points)
    if random.random() < 0.7:
        points = np.clip(points, 0, (width, height))
    return rounded(points, random).tolist()


def rounded(values: NDArray[np.float64], random: Random) -> NDArray[np.float64]:
    """Whole, half, or to two digits, as tools round."""
    kind = int(random.integers(0, 3))
    return np.asarray(np.round(values) if kind == 0 else np.round(values * 2) / 2 if kind == 1 else np.round(values, 2))


def box(random: Random, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Two opposite corners x1, y1, x2, y2 with x1 < x2, y1 < y2."""
    height, width = size
    first = random.uniform((0, 0), (width - 4, height - 4))
    second = np.minimum(first + random.uniform(2, 20, 2), (width, height))
    x1, y1, x2, y2 = (float(value) for value in rounded(np.concatenate([first, second]), random))
    return x1, y1, x2, y2


def blob(random: Random, size: tuple[int, int]) -> tuple[NDArray[np.bool_], int, int]:
    """A mask with holes and several parts, and where its upper left pixel lies."""
    height, width = int(random.integers(2, size[0] // 2)), int(random.integers(2, size[1] // 2))
    part = random.random((height, width)) < 0.6
    part[0, 0] = True
    return part, int(random.integers(0, size[1] - width)), int(random.integers(0, size[0] - height))


def picture(file: Path, size: tuple[int, int]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1]).save(file)


def write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content, sort_keys=True))


def png_text(part: NDArray[np.bool_]) -> str:
    stream = io.BytesIO()
    Image.fromarray(part).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def of_images(number: int, random: Random) -> list[tuple[str, str, tuple[int, int]]]:
    """Split, stem and size (height, width) of each image."""
    return [("val" if i == 0 else "train", f"i{i:03d}", (int(random.integers(40, 90)), int(random.integers(40, 90)))) for i in range(number)]


def labelme(root: Path, number: int, random: Random) -> None:
    for split, stem, size in of_images(number, random):
        shapes: list[dict[str, Any]] = []
        for i in range(OBJECTS):
            kind = ("polygon", "polygon", "rectangle", "circle", "mask", "oriented_rectangle", "group")[i % 7]
            one: dict[str, Any] = {"label": f"c{i:02d}", "shape_type": "polygon" if kind == "group" else kind, "group_id": 5 if kind == "group" else None}
            if kind in ("polygon", "group"):
                one["points"] = polygon(random, size)
            elif kind == "rectangle":
                x1, y1, x2, y2 = box(random, size)
                one["points"] = [[x1, y1], [x2, y2]]
            elif kind == "circle":
                middle = random.uniform((0, 0), size[::-1])
                one["points"] = rounded(np.array([middle, middle + random.uniform(-9, 9, 2)]), random).tolist()
            elif kind == "oriented_rectangle":
                one["points"] = turned(random, size)
            else:
                part, x, y = blob(random, size)
                one |= {"points": [[x, y], [x + part.shape[1] - 1, y + part.shape[0] - 1]], "mask": png_text(part)}
            shapes.append(one)
            if kind == "group":  # another part of it, which may lie above what comes between
                shapes.insert(int(random.integers(0, len(shapes))), {**one, "points": polygon(random, size)})
        picture(root / split / f"{stem}.png", size)
        content = {"version": "5.4.1", "flags": {}, "imageHeight": size[0], "imageWidth": size[1], "imageData": None, "imagePath": f"{stem}.png"}
        write(root / split / f"{stem}.json", {**content, "shapes": shapes})


def turned(random: Random, size: tuple[int, int]) -> Points:
    turn, half = random.uniform(0, math.pi), random.uniform(2, 12, 2)
    across = np.array([math.cos(turn), math.sin(turn)])
    down = np.array([-across[1], across[0]])
    middle = random.uniform((0, 0), size[::-1])
    corners = [middle + a * half[0] * across + b * half[1] * down for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return rounded(np.array(corners), random).tolist()


def cityscapes(root: Path, number: int, random: Random) -> None:
    names = (
        "road", "sky", "car", "cargroup", "person", "license plate", "rider", "building", "car", "persongroup", "out of roi", "bicycle", "terrain", "person",
    )  # fmt: skip
    for split, stem, size in of_images(number, random):
        objects: list[dict[str, Any]] = [{"label": name, "polygon": polygon(random, size)} for name in names]
        objects.append({"label": "train", "polygon": polygon(random, size), "deleted": 1})
        picture(root / "leftImg8bit" / split / "city" / f"{stem}_leftImg8bit.png", size)
        write(root / "gtFine" / split / "city" / f"{stem}_gtFine_polygons.json", {"imgHeight": size[0], "imgWidth": size[1], "objects": objects})


def cvat(root: Path, number: int, random: Random) -> None:
    images = []
    for i, (_, stem, size) in enumerate(of_images(number, random)):
        drawn = []
        for k in range(OBJECTS):
            kind = ("polygon", "box", "mask", "ellipse", "polygon", "polygon", "ellipse")[k % 7]
            head = f'label="c{k:02d}" source="manual" occluded="0" z_order="{int(random.integers(-1, 3))}"'
            if kind == "polygon":
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in polygon(random, size))
                drawn.append(f'<polygon {head} points="{points}"/>')
            elif kind == "box":
                x1, y1, x2, y2 = box(random, size)
                drawn.append(f'<box {head} xtl="{x1:.2f}" ytl="{y1:.2f}" xbr="{x2:.2f}" ybr="{y2:.2f}"/>')
            elif kind == "ellipse":
                cx, cy, rx, ry = rounded(np.concatenate([random.uniform((0, 0), size[::-1]), random.uniform(1, 15, 2)]), random)
                turn = f' rotation="{random.uniform(0, 360):.2f}"' if k % 2 else ""
                drawn.append(f'<ellipse {head} cx="{cx:.2f}" cy="{cy:.2f}" rx="{rx:.2f}" ry="{ry:.2f}"{turn}/>')
            else:
                part, x, y = blob(random, size)
                runs = ", ".join(str(run) for run in _counts(part))
                drawn.append(f'<mask {head} rle="{runs}" left="{x}" top="{y}" width="{part.shape[1]}" height="{part.shape[0]}"/>')
        images.append(f'<image id="{i}" name="{stem}.png" width="{size[1]}" height="{size[0]}">{"".join(drawn)}</image>')
        picture(root / "images" / f"{stem}.png", size)
    labels = "".join(f"<label><name>c{k:02d}</name><attributes></attributes></label>" for k in range(OBJECTS))
    head = f"<version>1.1</version><meta><task><labels>{labels}</labels></task></meta>"
    write(root / "annotations.xml", f"<annotations>{head}{''.join(images)}</annotations>")


def _counts(mask: NDArray[Any]) -> list[int]:
    """Run lengths row by row, beginning with 0."""
    flat = mask.ravel()
    edges = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), len(flat)]
    found = [end - start for start, end in pairwise(edges)]
    return [0, *found] if flat[0] else found


def supervisely(root: Path, number: int, random: Random) -> None:
    """Within the image, as the tool lets draw."""
    _supervisely(root, number, random, within=True)


def supervisely_beyond(root: Path, number: int, random: Random) -> None:
    """The SDK cuts what reaches beyond the image as a polygon, whose new corners it rounds; pixels are cut off here."""
    _supervisely(root, number, random, within=False)


def _supervisely(root: Path, number: int, random: Random, *, within: bool) -> None:
    classes = [{"title": f"c{k:02d}", "shape": "any", "color": "#FF0000"} for k in range(OBJECTS)]
    write(root / "meta.json", {"classes": classes, "tags": []})
    for split, stem, size in of_images(number, random):
        objects = []
        for k in range(OBJECTS):
            kind = ("polygon", "bitmap", "rectangle", "polygon")[k % 4]
            one: dict[str, Any] = {"classTitle": f"c{k:02d}", "geometryType": kind, "tags": []}
            if kind == "polygon":
                outer, *holes = [np.array(polygon(random, size)) for _ in range(1 + k % 3)]
                if within:
                    outer, *holes = (np.clip(points, 0, (size[1] - 1, size[0] - 1)) for points in (outer, *holes))
                one["points"] = {"exterior": outer.tolist(), "interior": [hole.tolist() for hole in holes]}
            elif kind == "rectangle":
                x1, y1, x2, y2 = (int(value) for value in box(random, size))
                one["points"] = {"exterior": [[x1, y1], [x2, y2]], "interior": []}
            else:
                part, x, y = blob(random, size)
                one["bitmap"] = {"data": _packed(part, palette=k % 8 == 1), "origin": [x, y]}
            objects.append(one)
        picture(root / split / "img" / f"{stem}.png", size)
        content = {"description": "", "tags": [], "size": {"height": size[0], "width": size[1]}, "objects": objects}
        write(root / split / "ann" / f"{stem}.png.json", content)


def _packed(part: NDArray[np.bool_], *, palette: bool) -> str:
    """As the tool writes it: a palette of which the first colour is transparent; or grey."""
    image, stream = Image.fromarray(part.astype(np.uint8) * (1 if palette else 255)), io.BytesIO()
    if palette:
        image.putpalette([0, 0, 0, 255, 255, 255])
        image.save(stream, "PNG", transparency=0)
    else:
        image.save(stream, "PNG")
    return base64.b64encode(zlib.compress(stream.getvalue())).decode()


def labelbox(root: Path, number: int, random: Random) -> None:
    lines = []
    for split, stem, size in of_images(number, random):
        objects: list[dict[str, Any]] = []
        for k in range(OBJECTS):
            one: dict[str, Any] = {"feature_id": f"f{k}", "name": f"c{k:02d}"}
            if k % 3:
                one["polygon"] = [{"x": x, "y": y} for x, y in polygon(random, size)]
            else:
                x1, y1, x2, y2 = box(random, size)
                one["bounding_box"] = {"top": y1, "left": x1, "height": y2 - y1, "width": x2 - x1}
            objects.append(one)
        picture(root / split / f"{stem}.png", size)
        row = {"id": stem, "external_id": f"{stem}.png"}
        labels = [{"annotations": {"objects": objects, "classifications": []}}]
        lines.append(json.dumps({"data_row": row, "media_attributes": {"height": size[0], "width": size[1]}, "projects": {"p": {"labels": labels}}}))
    write(root / "export.ndjson", "\n".join(lines) + "\n")


def coco(root: Path, number: int, random: Random) -> None:
    categories = [{"id": 3 * k + 2, "name": f"c{k:02d}"} for k in range(OBJECTS)]
    content: dict[str, dict[str, Any]] = {split: {"images": [], "annotations": [], "categories": categories} for split in ("train", "val")}
    for i, (split, stem, size) in enumerate(of_images(number, random)):
        picture(root / split / f"{stem}.png", size)
        content[split]["images"].append({"id": i, "file_name": f"{stem}.png", "height": size[0], "width": size[1]})
        for k in range(OBJECTS):
            one: dict[str, Any] = {"id": 100 * i + k + 1, "image_id": i, "category_id": 3 * k + 2, "iscrowd": 0}
            if k % 4 < 2:
                one["segmentation"] = [[value for point in polygon(random, size) for value in point] for _ in range(1 + k % 4)]
            else:
                part, x, y = blob(random, size)
                mask = np.zeros(size, dtype=np.uint8, order="F")
                mask[y : y + part.shape[0], x : x + part.shape[1]] = part
                if k % 4 == 2:
                    one["segmentation"] = {"size": list(size), "counts": _counts(mask.T)}
                    one["iscrowd"] = 1
                else:
                    one["segmentation"] = {"size": list(size), "counts": rle.encode(mask)["counts"].decode()}
            content[split]["annotations"].append(one)
    for split, part_of in content.items():
        write(root / "annotations" / f"instances_{split}.json", part_of)


def yolo(root: Path, number: int, random: Random) -> None:
    for split, stem, size in of_images(number, random):
        lines = []
        for k in range(OBJECTS):
            points = np.clip(np.array(polygon(random, size)), 0, size[::-1]) / size[::-1]
            lines.append(" ".join([str(k), *(f"{value:.6f}" for value in points.ravel())]))
        picture(root / "images" / split / f"{stem}.png", size)
        write(root / "labels" / split / f"{stem}.txt", "\n".join(lines) + "\n")
    names = "".join(f"  {k}: c{k:02d}\n" for k in range(OBJECTS))
    write(root / "data.yaml", f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}")


MAKERS: dict[str, Callable[[Path, int, Random], None]] = {
    "labelme": labelme,
    "cityscapes": cityscapes,
    "cvat": cvat,
    "supervisely": supervisely,
    "supervisely_beyond": supervisely_beyond,
    "labelbox": labelbox,
    "coco": coco,
    "yolo": yolo,
}
"""By format: what writes a source of some images below a folder."""
