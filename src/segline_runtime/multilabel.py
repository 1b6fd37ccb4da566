"""Multi-label segmentation: for each class the pixels that are of it; a pixel may be of several classes, or of none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from segline_runtime.geometry import Window, cores
from segline_runtime.images import to_png
from segline_runtime.semantic import blending_weights, enlarged
from segline_runtime.specification import Specification, Tile
from segline_runtime.task import Prediction, RuntimeTask

THRESHOLD = 0.5
"""Probability from which on a pixel is of a class."""


@dataclass(frozen=True)
class MultilabelPrediction(Prediction):
    """A mask for each class."""

    task: ClassVar[str] = "multilabel"
    masks: NDArray[np.bool_]  # (K, H, W)
    probabilities: NDArray[np.float32] | None = None  # (K, H, W), each for itself, on request


class Multilabel(RuntimeTask[MultilabelPrediction]):
    """Outputs: `masks` uint8 `(B, K, H, W)`, 1 where a pixel is of the class, and, where probabilities are wanted, `logits` float32 `(B, K, h, w)`.

    `h` × `w` is the size at which the network saw the image; between logits values are bilinear, and a sigmoid makes probabilities of them.
    """

    name = "multilabel"
    detail = frozenset({"logits"})

    def decode(self, outputs: Mapping[str, NDArray[Any]], size: tuple[int, int]) -> list[MultilabelPrediction]:
        predictions = []
        for i, masks in enumerate(outputs["masks"]):
            probabilities = sigmoid(enlarged(outputs["logits"][i], size)) if "logits" in outputs else None
            predictions.append(MultilabelPrediction(masks.astype(np.bool_), probabilities))
        return predictions

    def join(
        self, windows: Sequence[Window], predictions: Iterable[MultilabelPrediction], size: tuple[int, int], tile: Tile, *, probabilities: bool = False
    ) -> MultilabelPrediction:
        """By the mean probability of each class; a window counts the less, the nearer a pixel lies to where the window cuts the image.

        Needs one float32 for each class and pixel of the image. With a tile that has a context each pixel is what the one window says that sees all of it.
        """
        if tile.context:
            return _put_together(windows, predictions, size, tile, probabilities=probabilities)
        canvas: NDArray[np.float32] | None = None
        total = np.zeros(size, dtype=np.float32)
        for window, prediction in zip(windows, predictions, strict=True):
            assert prediction.probabilities is not None, "windows are joined by their probabilities"
            if canvas is None:
                canvas = np.zeros((len(prediction.probabilities), *size), dtype=np.float32)
            top, left, bottom, right = window
            weights = blending_weights(window, size, tile.overlap)
            canvas[:, top:bottom, left:right] += prediction.probabilities * weights
            total[top:bottom, left:right] += weights
        assert canvas is not None, "an image has at least one window"
        canvas /= total
        return MultilabelPrediction(canvas >= THRESHOLD, canvas if probabilities else None)

    def answer(self, prediction: MultilabelPrediction, specification: Specification) -> dict[str, Any]:
        """`task`, `size` [height, width], `classes` (`id`, `name`, `color`, `share` of the image, `mask`: base64 PNG, 255 where a pixel is of the class)."""
        classes = [
            {
                "id": info.id,
                "name": info.name,
                "color": list(info.color),
                "share": float(np.count_nonzero(mask) / mask.size),
                "mask": to_png(mask.astype(np.uint8) * np.uint8(255)),
            }
            for info, mask in zip(specification.classes, prediction.masks, strict=True)
        ]
        return {"task": prediction.task, "size": list(prediction.masks.shape[1:]), "classes": classes}


TASK = Multilabel()


def _put_together(
    windows: Sequence[Window], predictions: Iterable[MultilabelPrediction], size: tuple[int, int], tile: Tile, *, probabilities: bool
) -> MultilabelPrediction:
    """What each window says of its core; nothing is blended."""
    masks: NDArray[np.bool_] | None = None
    canvas: NDArray[np.float32] | None = None
    for window, (top, left, bottom, right), prediction in zip(windows, cores(size, tile), predictions, strict=True):
        inside = (slice(None), slice(top - window[0], bottom - window[0]), slice(left - window[1], right - window[1]))
        if masks is None:
            masks = np.empty((len(prediction.masks), *size), dtype=np.bool_)
        masks[:, top:bottom, left:right] = prediction.masks[inside]
        if probabilities:
            assert prediction.probabilities is not None
            if canvas is None:
                canvas = np.empty(masks.shape, dtype=np.float32)
            canvas[:, top:bottom, left:right] = prediction.probabilities[inside]
    assert masks is not None, "an image has at least one window"
    return MultilabelPrediction(masks, canvas)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits → probabilities, in place; by tanh, which is finite however large a logit is."""
    logits *= np.float32(0.5)
    np.tanh(logits, out=logits)
    logits += 1
    logits *= np.float32(0.5)
    return logits
