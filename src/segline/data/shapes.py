"""The generated data set: circles, squares, triangles and crosses that outline and pattern tell apart, and colour does not.

Objects of all classes and the background draw their colours from one distribution. A class's pattern (upright, level or slanted stripes, dots) is coarser
than a 3 × 3 neighbourhood, and its two tones are close. The light is uneven, the sensor noisy, and most objects touch or overlap another.
Written in the COCO layout, masks of the visible part only. A function of counts, size and seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.data.masks import encode_mask
from segline.data.store import SPLITS

CLASSES = ("circle", "square", "triangle", "cross")

_DIAMETER = (0.3, 0.6)  # of the shorter side of the image
_COUNT = (2, 5)
_NEXT_TO_ANOTHER = 0.6  # chance that an object is placed at another one
_VISIBLE_SHARE = 0.5  # least visible part of an object, what lies outside the image included
_VISIBLE_PIXELS = 60
_CONTRAST = 75.0  # least distance in RGB, 0…255, between an object's mean colour and what it lies on
_PERIOD = (8.0, 12.0)  # of a pattern, pixels
_TILT = 0.15  # of a pattern, radians; an outline turns freely
_SWING = (25.0, 45.0)  # of a pattern's tones around the object's colour, per channel
_ATTEMPTS = 40
_SUPERSAMPLING = 4

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """One generated image: RGB `(H, W, 3)`, and for each object its class (index into CLASSES), visible mask and whole mask `(N, H, W)`."""

    image: NDArray[np.uint8]
    labels: tuple[int, ...]
    visible: Bools
    whole: Bools


def generate(folder: Path, counts: Mapping[str, int], size: tuple[int, int], seed: int) -> None:
    """Write the data set into `folder`: `{train,val,test}/*.png` and `annotations/instances_{train,val,test}.json`. `size` is (height, width)."""
    (folder / "annotations").mkdir(parents=True)
    for number, split in enumerate(SPLITS):
        (folder / split).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for i in range(counts[split]):
            made = scene(size, (seed, number, i))
            name = f"{i:06d}.png"
            _, png = cv2.imencode(".png", made.image[..., ::-1])
            (folder / split / name).write_bytes(png.tobytes())
            images.append({"id": i + 1, "file_name": name, "height": size[0], "width": size[1]})
            for label, mask in zip(made.labels, made.visible, strict=True):
                annotations.append({"id": len(annotations) + 1, "image_id": i + 1, "category_id": label + 1, "iscrowd": 0, **encode_mask(mask)})
        content = {
            "info": {"description": "Segline shapes"},
            "licenses": [{"id": 1, "name": "CC0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
            "images": images,
            "annotations": annotations,
            "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)],
        }
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def scene(size: tuple[int, int], seed: tuple[int, ...]) -> Scene:
    """One image of `size` (height, width)."""
    rng = np.random.default_rng(seed)
    image = _ground(rng, size)
    placed: list[_Object] = []
    for _ in range(int(rng.integers(_COUNT[0], _COUNT[1] + 1))):
        tries = (_place(rng, size, placed) for _ in range(_ATTEMPTS))
        new = next((candidate for candidate in tries if _all_visible([*placed, candidate])), None)
        if new is None:
            continue
        under = image[new.cover >= 0.5]
        colour = next((c for c in (_colour(rng) for _ in range(200)) if _stands_out(c, under)), _farthest_corner(under))
        image += new.cover[..., None] * (_surface(rng, size, new, colour) - image)
        placed.append(new)
    image *= _light(rng, size)[..., None]
    blurred = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 0.7)))
    noisy = blurred + rng.normal(0, rng.uniform(4, 10), image.shape)
    whole = np.array([o.cover >= 0.5 for o in placed], dtype=np.bool_).reshape(-1, *size)
    return Scene(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), tuple(o.label for o in placed), _visible(whole), whole)


@dataclass(frozen=True)
class _Object:
    """A placed object. `cover` is `(H, W)`, 0…1; `area` also counts what lies outside the image, square pixels."""

    label: int
    x: float
    y: float
    radius: float
    cover: Floats
    area: float


def _regular(corners: int, radius: float) -> Floats:
    angles = 2 * np.pi * np.arange(corners) / corners
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


_A, _L = 0.34, 1.0  # half width and length of a cross's arms
_OUTLINES: tuple[Floats, ...] = (  # of CLASSES, around the origin; sizes chosen for like areas
    _regular(64, 0.85),
    _regular(4, 1.05),
    _regular(3, 1.25),
    np.array(
        [[_A, _A], [_L, _A], [_L, -_A], [_A, -_A], [_A, -_L], [-_A, -_L], [-_A, -_A], [-_L, -_A], [-_L, _A], [-_A, _A], [-_A, _L], [_A, _L]], dtype=np.float32
    ),
)


def _place(rng: np.random.Generator, size: tuple[int, int], placed: list[_Object]) -> _Object:
    """A random object, often at one that is already there; it may reach beyond the image."""
    height, width = size
    label = int(rng.integers(len(CLASSES)))
    radius = 0.5 * min(size) * float(rng.uniform(*_DIAMETER))
    if placed and rng.random() < _NEXT_TO_ANOTHER:
        other = placed[int(rng.integers(len(placed)))]
        angle, distance = rng.uniform(0, 2 * np.pi), (radius + other.radius) * rng.uniform(0.6, 0.9)
        x, y = other.x + float(distance * np.cos(angle)), other.y + float(distance * np.sin(angle))
    else:
        x, y = (float(rng.uniform(0.7 * radius, side - 0.7 * radius)) for side in (width, height))
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], dtype=np.float32)
    outline = radius * _OUTLINES[label] @ rotation + np.array([x, y], dtype=np.float32)
    canvas = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING), dtype=np.uint8)
    cv2.fillPoly(canvas, [np.rint(outline * _SUPERSAMPLING).astype(np.int32)], 255)
    cover = np.asarray(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32) / np.float32(255)
    return _Object(label, x, y, radius, cover, float(cv2.contourArea(outline)))


def _visible(whole: Bools) -> Bools:
    """Visible parts `(N, H, W)` of objects of which later ones lie on earlier ones."""
    above = np.zeros(whole.shape[1:], dtype=np.bool_)
    visible = np.zeros_like(whole)
    for i in reversed(range(len(whole))):
        visible[i] = whole[i] & ~above
        above |= whole[i]
    return visible


def _all_visible(objects: list[_Object]) -> bool:
    seen = _visible(np.stack([o.cover >= 0.5 for o in objects])).sum(axis=(1, 2))
    return all(pixels >= max(_VISIBLE_PIXELS, _VISIBLE_SHARE * o.area) for pixels, o in zip(seen, objects, strict=True))


def _colour(rng: np.random.Generator) -> Floats:
    return rng.uniform(30, 225, 3).astype(np.float32)


def _stands_out(colour: Floats, under: Floats) -> bool:
    """Whether a colour differs from most of the pixels `(N, 3)` it will lie on."""
    return float(np.quantile(np.linalg.norm(under - colour, axis=1), 0.1)) >= _CONTRAST


def _farthest_corner(under: Floats) -> Floats:
    return np.where(under.mean(axis=0) < 127.5, 225, 30).astype(np.float32)


def _ground(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    """The background `(H, W, 3)`, 0…255: a colour that changes across the image, and blotches."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(size)
    turn = rng.uniform(0, 2 * np.pi)
    slope = np.cos(turn) * x + np.sin(turn) * y
    return np.asarray(_colour(rng) + (slope - slope.mean())[..., None] * rng.uniform(-60, 60, 3) + _blotches(rng, size), dtype=np.float32)


def _surface(rng: np.random.Generator, size: tuple[int, int], new: _Object, colour: Floats) -> Floats:
    """A plane `(H, W, 3)` with the pattern of an object's class around a colour, 0…255."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x - new.x, y - new.y
    turn = rng.uniform(-_TILT, _TILT)
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    wave, phase = 2 * np.pi / float(rng.uniform(*_PERIOD)), float(rng.uniform(0, 2 * np.pi))
    pattern = {
        "circle": lambda: np.sin(wave * u + phase) > 0,
        "square": lambda: np.sin(wave * v + phase) > 0,
        "triangle": lambda: np.cos(wave * u) + np.cos(wave * v) > 0.4,
        "cross": lambda: np.sin(wave * (u + v) / np.sqrt(2) + phase) > 0,
    }[CLASSES[new.label]]()
    swing = rng.choice([-1, 1], 3) * rng.uniform(*_SWING, 3)
    return np.asarray(colour + np.where(pattern, 1, -1)[..., None] * swing + _blotches(rng, size), dtype=np.float32)


def _blotches(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    blotches = cv2.GaussianBlur(rng.normal(0, 1, (*size, 3)).astype(np.float32), (0, 0), 3.0)
    return np.asarray(blotches * (rng.uniform(4, 10) / blotches.std()), dtype=np.float32)


def _light(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    """Brightness `(H, W)`: a slope and a lamp."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(size)
    turn, lamp = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1, 2)
    slope = rng.uniform(0.2, 0.6) * (np.cos(turn) * x + np.sin(turn) * y)
    glow = rng.uniform(0.1, 0.5) * np.exp(-((x - lamp[0]) ** 2 + (y - lamp[1]) ** 2) / 0.1)
    light = slope + glow
    return np.asarray(1 + light - light.mean(), dtype=np.float32)
