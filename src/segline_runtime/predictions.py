"""What a model says of one image: one tagged type per task. All sizes and coordinates are those of the input image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SemanticPrediction:
    """A class for each pixel."""

    task: ClassVar[str] = "semantic"
    class_ids: NDArray[np.uint8]  # (H, W)
    probabilities: NDArray[np.float32] | None = None  # (C, H, W), on request


@dataclass(frozen=True)
class InstancePrediction:
    """Objects, by falling score."""

    task: ClassVar[str] = "instance"
    scores: NDArray[np.float32]  # (N,)
    labels: NDArray[np.int64]  # (N,) class ids
    boxes: NDArray[np.float32]  # (N, 4) xyxy, pixels
    masks: NDArray[np.bool_]  # (N, H, W)


Prediction = SemanticPrediction | InstancePrediction
