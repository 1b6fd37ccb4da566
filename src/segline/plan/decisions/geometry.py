"""`input.size`, `input.fit`, `input.crop`: at what size, and how brought to it, the network sees images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segline.data.extents import Extents
from segline_runtime.specification import Fit

LONGEST = 512
"""Pixels of the longer side, above which `input.size: auto` shrinks: memory and time grow with the area."""

SMALLEST = 32
"""Pixels: the least that `input.crop` may be."""

WINDOW, SHARED = 512, 64
"""Side of tiles, and how much neighbours share, in pixels."""

_LARGE = 1600
"""Pixels of the longer side above which shrinking would lose what is small, so that images are trained on and predicted in windows."""

_SIDES = (320, 384, 448, LONGEST)
"""Of the longer side, pixels: among which what is narrow or small decides."""

_NARROW = 3.0
"""Pixels: what is narrower is lost between those that the network sees; a class that is so in the images themselves no size brings back."""

_SMALL = 32.0
"""Side of an object, pixels: what is smaller, COCO calls small (Lin 2014), and detectors find it less often."""

_FEW = 0.001
"""Share of the pixels below which a class says nothing about size."""

_UPRIGHT, _LYING, _MANY = 1.1, 0.9, 0.15
_ALIKE = 1.15
"""How many times as tall, for its width, an image may be as another that is stretched to the same size."""


@dataclass(frozen=True)
class Seen:
    """What was decided, and why."""

    fit: Fit
    size: tuple[int, int] | None  # height, width; None with `native`
    tile: tuple[tuple[int, int], int] | None  # height and width, and how much neighbours share
    fit_reason: str
    size_reason: str


def median_size(median: tuple[int, int], stride: int) -> tuple[tuple[int, int], str]:
    """`size: auto` where `fit` is given: the median image (height, width), at most `LONGEST` long."""
    size = _within(median, LONGEST, stride)
    reason = f"the median training image has {median[0]}×{median[1]} pixels"
    reason += f", shrunk to at most {LONGEST}" if max(median) > LONGEST else ""
    return size, f"{reason}, rounded to multiples of the network's stride {stride}"


def crop(seen: tuple[int, int] | None, median: tuple[int, int], stride: int) -> tuple[tuple[int, int], str]:
    """`crop: auto`. seen: the size that the network sees; None where that is the image's own."""
    height, width = median if seen is None else seen
    chosen = (_multiple_below(min(height, LONGEST), stride), _multiple_below(min(width, LONGEST), stride))
    reason = f"the median training image has {height}×{width} pixels" if seen is None else f"the network sees {height}×{width} pixels"
    return chosen, f"{reason}; each side at most {LONGEST}, rounded down to multiples of the network's stride {stride}"


def decided(
    extents: Extents, median: tuple[int, int], classes: Sequence[str], *, fits: Sequence[Fit], stride: int, size: tuple[int, int] | None, tiled: bool
) -> Seen:
    """`fit: auto`, and `size: auto` with it.

    median: height and width of the training images; fits: those that the network can be trained and exported with; size: the one that params.yaml gives, if it
    does; tiled: whether it gives tiles.
    """
    if tiled:
        return Seen("native", None, None, "tiles are cut from the image at its own size", "")
    said = f"the median training image has {median[0]}×{median[1]} pixels"
    if size is None and "native" in fits and max(median) > _LARGE and min(median) >= WINDOW:
        return Seen("native", None, ((WINDOW, WINDOW), SHARED), f"{said}: shrunk, it would lose what is small, so it is seen in windows", "")
    longest, why = _longest(extents, median, classes)
    shrunk = _within(median, longest, stride)
    reason = f"{said}{why}, rounded to multiples of the network's stride {stride}"
    if "shorter_side" in fits:
        return Seen("shorter_side", size or shrunk, None, "boxes keep their shape", reason)
    upright, lying = extents.shapes.share(_UPRIGHT, float("inf")), extents.shapes.share(0, _LYING)
    if min(upright, lying) > _MANY:
        shapes = "some training images are upright and some lying"
        side = _multiple(min(longest, extents.longer.quantile(0.5)), stride)
        shrunk, reason = (side, side), f"{reason}; a square, as {shapes}"
    elif extents.shapes.quantile(0.95) > _ALIKE * extents.shapes.quantile(0.05):
        shapes = "the training images' shapes differ"
    else:
        return Seen("stretch", size or shrunk, None, "the training images have about one shape", reason)
    if "letterbox" not in fits:
        return Seen("stretch", size or shrunk, None, f"{shapes}, and the network is exported with stretch or native alone", reason)
    return Seen("letterbox", size or shrunk, None, f"{shapes}, so they are padded and not stretched", reason)


def _longest(extents: Extents, median: tuple[int, int], classes: Sequence[str]) -> tuple[int, str]:
    """Up to how many pixels of the longer side are worth their time, and the end of a sentence that says why."""
    if max(median) <= _SIDES[0]:
        return _SIDES[0], ""
    narrow, name = _narrowest(extents, classes)
    small = extents.object_sides.quantile(0.1) * (median[0] * median[1]) ** 0.5 if extents.object_sides.count else None
    chosen, shrink = LONGEST, 1.0
    for side in _SIDES:
        shrink = min(1.0, side / max(median))
        if (narrow is None or narrow * shrink >= _NARROW) and (small is None or small * shrink >= _SMALL):
            chosen = side
            break
    left = []
    if narrow is not None:
        left.append(f"parts of the class {name} {_pixels(narrow * shrink)} wide")
    if small is not None:
        left.append(f"all but the smallest tenth of the objects {_pixels(small * shrink)} or more")
    shown = f", which leaves {' and '.join(left)}" if left else ""
    return chosen, (f", shrunk to at most {chosen}" if shrink < 1 else "") + shown


def _narrowest(extents: Extents, classes: Sequence[str]) -> tuple[float | None, str]:
    """The class with the narrowest parts, of those that can be seen at all: its width in pixels of the images, and its name."""
    everything = sum(extents.class_pixels.values())
    found: list[tuple[float, str]] = []
    for label, name in enumerate(classes):
        width = extents.width_of(label)
        if width is not None and width >= _NARROW and extents.class_pixels[label] > _FEW * everything:
            found.append((width, name))
    return min(found, default=(None, ""))


def _pixels(value: float) -> str:
    return f"{value:.0f} pixels" if value >= 10 else f"{value:.1f} pixels"


def _within(median: tuple[int, int], longest: int, stride: int) -> tuple[int, int]:
    shrink = min(1.0, longest / max(median))
    return _multiple(median[0] * shrink, stride), _multiple(median[1] * shrink, stride)


def _multiple_below(length: int, stride: int) -> int:
    """Never below the smallest crop that a person could ask for."""
    least = -(-SMALLEST // stride) * stride
    return max(least, length // stride * stride)


def _multiple(length: float, stride: int) -> int:
    return max(stride, round(length / stride) * stride)
