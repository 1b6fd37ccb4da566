"""What `auto` means for one model and one data set, and why."""

from __future__ import annotations

from dataclasses import dataclass

from segline.data.store import DatasetInfo
from segline.models.settings import ModelSettings
from segline.tasks.base import Task

LONGEST = 512
"""Pixels of the longer side, above which `input.size: auto` shrinks: memory and time grow with the area."""

SMALLEST = 32
"""Pixels: the least that `input.crop` may be."""


@dataclass(frozen=True)
class Decision:
    """One value that params.yaml left to the line."""

    key: str
    value: object
    reason: str


def input_size(settings: ModelSettings, info: DatasetInfo) -> tuple[tuple[int, int] | None, Decision | None]:
    """Height and width that the network sees (None with `fit: native`), and the decision if there was one to take."""
    if settings.input.fit == "native":
        return None, None
    if settings.input.size != "auto":
        return settings.input.size, None
    assert info.image_size is not None, "prepared data without training images has no plan"
    height, width = info.image_size.median
    shrink = min(1.0, LONGEST / max(height, width))
    stride = settings.stride
    size = (_multiple(height * shrink, stride), _multiple(width * shrink, stride))
    reason = f"the median training image has {height}×{width} pixels"
    reason += f", shrunk to at most {LONGEST}" if shrink < 1 else ""
    return size, Decision("input.size", list(size), f"{reason}, rounded to multiples of the network's stride {stride}")


def crop(settings: ModelSettings, info: DatasetInfo, size: tuple[int, int] | None) -> tuple[ModelSettings, Decision | None]:
    """The settings with a crop in place of `auto`. `size`: that the network sees, as `input_size` says."""
    if settings.input.crop != "auto":
        return settings, None
    assert info.image_size is not None, "prepared data without training images has no plan"
    stride = settings.stride
    height, width = info.image_size.median if size is None else size
    chosen = (_multiple_below(min(height, LONGEST), stride), _multiple_below(min(width, LONGEST), stride))
    reason = f"the median training image has {height}×{width} pixels" if size is None else f"the network sees {height}×{width} pixels"
    found = settings.model_copy(update={"input": settings.input.model_copy(update={"crop": chosen})})
    return found, Decision("input.crop", list(chosen), f"{reason}; each side at most {LONGEST}, rounded down to multiples of the network's stride {stride}")


def normalisation(settings: ModelSettings, info: DatasetInfo) -> tuple[tuple[tuple[float, ...], tuple[float, ...]] | None, Decision | None]:
    """Mean and standard deviation; None where the pre-trained weights' own are to be used, which their library knows."""
    if settings.input.mean is not None and settings.input.std is not None:
        return (tuple(settings.input.mean), tuple(settings.input.std)), None
    if settings.pretrained and info.image.channels == 3:
        return None, Decision("input.mean, input.std", "of the pre-trained weights", "weights expect the statistics that they were trained with")
    return (info.mean, info.std), Decision(
        "input.mean, input.std", [list(info.mean), list(info.std)], "the training images' own, as nothing is pre-trained for them"
    )


def metrics(chosen: str | list[str], task: Task) -> tuple[tuple[str, ...], Decision | None]:
    """Words of the metrics' catalogue that a model of `task` is scored by."""
    if isinstance(chosen, list):
        return tuple(chosen), None
    return task.metrics, Decision("evaluate.metrics", list(task.metrics), f"those of the task {task.name}")


def _multiple_below(length: int, stride: int) -> int:
    """Never below the smallest crop that a person could ask for."""
    least = -(-SMALLEST // stride) * stride
    return max(least, length // stride * stride)


def _multiple(length: float, stride: int) -> int:
    return max(stride, round(length / stride) * stride)
