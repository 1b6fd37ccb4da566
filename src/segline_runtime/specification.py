"""The one specification of what a model eats and what its numbers mean. It travels as JSON in the metadata of model.onnx."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

METADATA_KEY = "segline"
"""Key of the specification in the ONNX file's `metadata_props`."""


@dataclass(frozen=True)
class ClassInfo:
    """One class. Ids are contiguous from 0 and equal the pixel values of index masks, the channels of logits and the labels of instances."""

    id: int
    name: str
    color: tuple[int, int, int]  # RGB, 0…255
    thing: bool  # countable object (thing) or background and material (stuff)


@dataclass(frozen=True)
class Specification:
    """How an image becomes the network's input, and what its output's classes are.

    An image is RGB uint8 `(H, W, 3)` of any size. `resize` says how the graph brings it to `image_size` (height, width):
    `stretch` resizes to exactly that size; `shorter_side` keeps the aspect ratio and makes the shorter side `min(image_size)`,
    unless the longer one would then exceed `max(image_size)`. `mean` and `std` are per channel, for values scaled to 0…1.
    """

    task: str  # semantic or instance
    model: str  # its name in params.yaml
    dataset: str
    classes: tuple[ClassInfo, ...]
    image_size: tuple[int, int]
    resize: Literal["stretch", "shorter_side"]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Specification:
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Specification:
        classes = tuple(ClassInfo(c["id"], c["name"], tuple(c["color"]), c["thing"]) for c in values["classes"])
        size, mean, std = (tuple(values[k]) for k in ("image_size", "mean", "std"))
        return cls(**{**values, "classes": classes, "image_size": size, "mean": mean, "std": std})
