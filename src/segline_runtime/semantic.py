"""Semantic segmentation: a class for each pixel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from segline_runtime import crf
from segline_runtime.geometry import Window, cores
from segline_runtime.images import to_png
from segline_runtime.specification import Specification, Tile
from segline_runtime.task import Prediction, RuntimeTask


@dataclass(frozen=True)
class SemanticPrediction(Prediction):
    """A class for each pixel."""

    task: ClassVar[str] = "semantic"
    class_ids: NDArray[np.uint8]  # (H, W)
    probabilities: NDArray[np.float32] | None = None  # (C, H, W), on request


class Semantic(RuntimeTask[SemanticPrediction]):
    """Outputs: `class_ids` uint8 `(B, H, W)` and, where probabilities are wanted, `logits` float32 `(B, K, h, w)`, or `probabilities` themselves.

    `h` × `w` is the size at which the network saw the image, and in files up to version 3 the image's own; between logits values are bilinear.
    """

    name = "semantic"
    detail = frozenset({"logits", "probabilities"})

    def decode(self, outputs: Mapping[str, NDArray[Any]], size: tuple[int, int]) -> list[SemanticPrediction]:
        predictions = []
        for i, ids in enumerate(outputs["class_ids"]):
            probabilities: NDArray[np.float32] | None = None
            if "probabilities" in outputs:
                probabilities = outputs["probabilities"][i]
            elif "logits" in outputs:
                probabilities = softmax(enlarged(outputs["logits"][i], size))
            predictions.append(SemanticPrediction(ids, probabilities))
        return predictions

    def refines(self, specification: Specification) -> bool:
        return specification.crf is not None

    def refined(self, prediction: SemanticPrediction, image: NDArray[Any], specification: Specification, *, probabilities: bool) -> SemanticPrediction:
        if specification.crf is None:
            return prediction
        assert prediction.probabilities is not None, "probabilities are what is refined"
        shares = crf.refined(prediction.probabilities, image, specification.image, specification.crf)
        return SemanticPrediction(shares.argmax(axis=0).astype(np.uint8), shares if probabilities else None)

    def join(
        self, windows: Sequence[Window], predictions: Iterable[SemanticPrediction], size: tuple[int, int], tile: Tile, *, probabilities: bool = False
    ) -> SemanticPrediction:
        """The class of the highest mean probability; a window counts the less, the nearer a pixel lies to where the window cuts the image.

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
        class_ids = np.empty(size, dtype=np.uint8)
        for row in range(size[0]):  # of all at once, numpy would make a second canvas
            class_ids[row] = canvas[:, row].argmax(axis=0)
        if not probabilities:
            return SemanticPrediction(class_ids)
        canvas /= total
        return SemanticPrediction(class_ids, canvas)

    def answer(self, prediction: SemanticPrediction, specification: Specification) -> dict[str, Any]:
        """`task`, `size` [height, width], `mask` (base64 PNG of class ids), `classes` (`id`, `name`, `color`, `share` of the image)."""
        ids = prediction.class_ids
        counts = np.zeros(256, dtype=np.int64)
        for row in ids:  # of all at once, numpy would make a copy of eight bytes a pixel
            counts += np.bincount(row, minlength=len(counts))
        classes = [{"id": c.id, "name": c.name, "color": list(c.color), "share": float(counts[c.id] / ids.size)} for c in specification.classes]
        return {"task": prediction.task, "size": list(ids.shape), "mask": to_png(ids), "classes": classes}


TASK = Semantic()


def _put_together(
    windows: Sequence[Window], predictions: Iterable[SemanticPrediction], size: tuple[int, int], tile: Tile, *, probabilities: bool
) -> SemanticPrediction:
    """What each window says of its core; nothing is blended."""
    class_ids = np.empty(size, dtype=np.uint8)
    canvas: NDArray[np.float32] | None = None
    for window, core, prediction in zip(windows, cores(size, tile), predictions, strict=True):
        top, left, bottom, right = core
        inside = (slice(top - window[0], bottom - window[0]), slice(left - window[1], right - window[1]))
        class_ids[top:bottom, left:right] = prediction.class_ids[inside]
        if probabilities:
            assert prediction.probabilities is not None
            if canvas is None:
                canvas = np.empty((len(prediction.probabilities), *size), dtype=np.float32)
            canvas[:, top:bottom, left:right] = prediction.probabilities[:, *inside]
    return SemanticPrediction(class_ids, canvas)


def enlarged(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Logits `(K, h, w)` → `(K, H, W)` of `size`, bilinearly between the centres of their pixels; a copy where the size is the same."""
    if logits.shape[1:] == size:
        return logits.copy()
    above, down = _between(logits.shape[1], size[0])
    left, across = _between(logits.shape[2], size[1])
    found = np.empty((len(logits), *size), dtype=np.float32)
    for target, values in zip(found, logits, strict=True):  # of all at once, numpy would need three times the memory
        wide = values[:, left] * (1 - across)
        wide += values[:, np.minimum(left + 1, values.shape[1] - 1)] * across
        np.multiply(wide[above], (1 - down)[:, None], out=target)
        target += wide[np.minimum(above + 1, len(wide) - 1)] * down[:, None]
    return found


def _between(length: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each pixel of a line that is enlarged to `target` pixels: the pixel of the short line before its centre, and the weight of the next one."""
    position = np.maximum((np.arange(target) + 0.5) * (length / target) - 0.5, 0)
    before = position.astype(np.int64)
    return before, (position - before).astype(np.float32)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits `(K, H, W)` → probabilities that add up to 1 over the classes, in place."""
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return logits


def blending_weights(window: Window, size: tuple[int, int], overlap: int) -> NDArray[np.float32]:
    """How much each pixel of a window counts, `(h, w)`, in 0…1 and never 0.

    Within `overlap` pixels of an edge that cuts the image of `size`, the weight falls linearly towards it; those of two windows that share just
    these pixels add up to 1. At the image's own border it does not fall.
    """
    top, left, bottom, right = window
    rows = _ramp(top, bottom, size[0], overlap)
    columns = _ramp(left, right, size[1], overlap)
    return rows[:, None] * columns


def _ramp(start: int, stop: int, length: int, overlap: int) -> NDArray[np.float32]:
    """Weights of a window from `start` to `stop` of an axis of `length` pixels."""
    weights = np.ones(stop - start, dtype=np.float32)
    rising = (np.arange(stop - start, dtype=np.float32) + 1) / np.float32(overlap + 1)
    if start > 0:
        weights = np.minimum(weights, rising)
    if stop < length:
        weights = np.minimum(weights, rising[::-1])
    return weights
