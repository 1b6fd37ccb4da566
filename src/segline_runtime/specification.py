"""The one specification of what a model eats and what its numbers mean. It travels as JSON in the metadata of model.onnx.

    version 1   (has no key `version`) `image_size` and `resize`, RGB of 8 bits
    version 2   `geometry`, `image`, `version`
    version 3   a semantic file's second output is `logits`, where it was `probabilities`
    version 4   these logits are of the size at which the network saw the image, where they were of the image's own; `crf`, `components`
    version 5   `context` and `step` of a tile; `fusion`

All are read; version 5 is written. A file of a later version is refused, so that no setting is passed over in silence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from segline_runtime.errors import InputError

METADATA_KEY = "segline"
"""Key of the specification in the ONNX file's `metadata_props`."""

VERSION = 5

Dtype = Literal["uint8", "uint16", "float32"]
Fit = Literal["stretch", "shorter_side", "letterbox", "native"]


@dataclass(frozen=True)
class ClassInfo:
    """One class. Ids are contiguous from 0 and equal the pixel values of index masks, the channels of logits and the labels of instances."""

    id: int
    name: str
    color: tuple[int, int, int]  # RGB, 0…255
    thing: bool  # countable object (thing) or background and material (stuff)


@dataclass(frozen=True)
class ImageKind:
    """What an image array is: `(height, width, channels)`. Three channels are red, green and blue, one is grey."""

    axes: str = "HWC"
    channels: int = 3
    dtype: Dtype = "uint8"
    scale: float = 255.0  # the value that becomes 1.0 before mean and standard deviation are applied


@dataclass(frozen=True)
class Tile:
    """Windows by which large images are predicted, in pixels of the image."""

    size: tuple[int, int]  # (height, width)
    overlap: int  # pixels that neighbouring windows share at least; below both sides of `size`
    # Pixels beside a pixel that decide what the network says of it: a window is believed no nearer to where it cuts the image, and nothing is blended.
    # 0: not known, and windows are blended where they overlap.
    context: int = 0
    step: int = 1  # windows begin at multiples of it: where the network's poolings fall in the image as they do in the window


@dataclass(frozen=True)
class Geometry:
    """How an image comes to the size at which the network sees it; `segline_runtime.geometry` holds the rules.

    `stretch`: resized to exactly `size` (height, width).
    `shorter_side`: keeps the aspect ratio; the shorter side becomes `min(size)`, unless the longer one would then exceed `max(size)`.
    `letterbox`: keeps the aspect ratio; the largest that fits into `size`, padded at the right and the bottom to exactly `size`.
    `native`: not resized, `size` is None. With a `tile`, images are predicted by windows, each at its own size.
    """

    fit: Fit
    size: tuple[int, int] | None
    tile: Tile | None = None


@dataclass(frozen=True)
class Crf:
    """How a fully connected conditional random field refines class probabilities; `segline_runtime.crf` says what it is.

    Standard deviations of positions are in pixels of the image, those of colours in values scaled to 0…255.
    """

    iterations: int
    appearance: float  # weight of pixels that are near and of like colour
    appearance_position: float  # standard deviation
    appearance_colour: float  # standard deviation
    smoothness: float  # weight of pixels that are near
    smoothness_position: float  # standard deviation


@dataclass(frozen=True)
class Components:
    """Objects are the connected components of a semantic graph's thing classes; `segline_runtime.components` finds them."""

    min_size: int  # pixels of an object, at least
    connectivity: int  # 4: pixels that share a side belong together; 8: also those that share a corner
    max_detections: int  # the best of an image that are kept
    stuff: bool = True  # whether a pixel may be stuff; else it is the likeliest thing


@dataclass(frozen=True)
class Fusion:
    """How the detections of several detectors in one graph become one detection for each object; `segline_runtime.fusion` says how."""

    weights: tuple[float, ...]  # of each detector
    iou: float  # of boxes, beyond which detections speak of one object
    max_detections: int  # the best of an image that are kept


@dataclass(frozen=True)
class Specification:
    """How an image becomes the network's input, and what its output's classes are.

    `mean` and `std` are per channel, for values divided by `image.scale`.
    """

    task: str  # a key of segline_runtime.tasks.TASKS
    model: str  # its name in params.yaml
    dataset: str
    classes: tuple[ClassInfo, ...]
    geometry: Geometry
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image: ImageKind = ImageKind()
    crf: Crf | None = None  # refines what a semantic model says
    components: Components | None = None  # of an instance model whose graph is a semantic one's
    fusion: Fusion | None = None  # of an instance model whose graph holds several detectors
    version: int = VERSION

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Specification:
        """Raises InputError when the text is no specification that this code can read."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InputError(f"The model's specification is not JSON ({error}); export the model anew.") from None
        if not isinstance(values, dict):
            raise InputError("The model's specification is not a JSON object; export the model anew.")
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Specification:
        """From what JSON gives back, of any version up to this one. Raises InputError as `from_json`."""
        version = values.get("version", 1)
        if not isinstance(version, int) or version > VERSION:
            raise InputError(
                f"The model's specification has version {version}; this Segline reads up to {VERSION}. Use a newer Segline, or export the model anew."
            )
        try:
            return cls(
                task=values["task"],
                model=values["model"],
                dataset=values["dataset"],
                classes=tuple(ClassInfo(c["id"], c["name"], tuple(c["color"]), c["thing"]) for c in values["classes"]),
                geometry=_geometry(values["geometry"]) if version > 1 else Geometry(_fit(values["resize"]), _size(values["image_size"])),
                mean=tuple(values["mean"]),
                std=tuple(values["std"]),
                image=_image(values.get("image", {})),
                crf=None if values.get("crf") is None else Crf(**values["crf"]),
                components=_components(values.get("components")),
                fusion=_fusion(values.get("fusion")),
            )
        except KeyError as error:
            raise InputError(f"The model's specification lacks {error}; export the model anew.") from None
        except InputError:
            raise
        except (TypeError, ValueError, AttributeError) as error:
            raise InputError(f"The model's specification cannot be read ({error}); export the model anew.") from None


def _geometry(values: Mapping[str, Any]) -> Geometry:
    size, tile = values.get("size"), values.get("tile")
    return Geometry(
        fit=_fit(values["fit"]),
        size=None if size is None else _size(size),
        tile=None if tile is None else _tile(tile),
    )


def _tile(values: Mapping[str, Any]) -> Tile:
    found = Tile(_size(values["size"]), values["overlap"], values.get("context", 0), values.get("step", 1))
    if found.context < 0 or found.step < 1 or (found.context > 0 and min(found.size) <= 2 * found.context + found.step):
        raise InputError(f"The model's specification cuts images into {dict(values)}, windows that hold nothing but context; export the model anew.")
    return found


def _fit(word: Any) -> Fit:
    if word not in get_args(Fit):
        raise InputError(f"The model's specification resizes images by '{word}'; known are {', '.join(get_args(Fit))}. Use a newer Segline.")
    fit: Fit = word
    return fit


def _components(values: Mapping[str, Any] | None) -> Components | None:
    if values is None:
        return None
    found = Components(**values)
    if found.connectivity not in (4, 8) or not all(isinstance(number, int) and number >= 0 for number in (found.min_size, found.max_detections)):
        raise InputError(f"The model's specification joins pixels into objects by {dict(values)}; known are connectivity 4 and 8. Use a newer Segline.")
    return found


def _fusion(values: Mapping[str, Any] | None) -> Fusion | None:
    if values is None:
        return None
    found = Fusion(tuple(values["weights"]), values["iou"], values["max_detections"])
    if not found.weights or min(found.weights) <= 0 or not 0 < found.iou < 1 or found.max_detections < 1:
        raise InputError(f"The model's specification fuses detections by {dict(values)}, which means nothing; export the model anew.")
    return found


def _size(values: Any) -> tuple[int, int]:
    height, width = values
    return height, width


def _image(values: Mapping[str, Any]) -> ImageKind:
    kind = ImageKind(**values)
    if kind.axes != "HWC" or kind.dtype not in get_args(Dtype):
        raise InputError(
            f"The model's specification asks for images {kind.axes} of {kind.dtype}; known are HWC of {', '.join(get_args(Dtype))}. Use a newer Segline."
        )
    return kind
