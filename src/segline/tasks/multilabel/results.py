"""The files of `segline predict` for multi-label models.

masks/<name>/<class>.png   one for each class: 255 where a pixel is of it, 0 elsewhere; classes by their key-safe names
probabilities/<name>.npy   on request: float32 (K, H, W)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.files import whole
from segline.metrics.names import class_keys
from segline.tasks.results import write_png
from segline_runtime.predictions import MultilabelPrediction, Prediction
from segline_runtime.specification import Specification


class MultilabelResults:
    """See `segline.tasks.base.ResultFiles`."""

    def __init__(self, out: Path, specification: Specification, *, probabilities: bool) -> None:
        self.out = out
        self.keys = class_keys(specification.classes)
        self.probabilities = probabilities

    def add(self, name: str, file_name: str, image: NDArray[Any], prediction: Prediction) -> None:  # noqa: ARG002
        assert isinstance(prediction, MultilabelPrediction)
        for key, mask in zip(self.keys, prediction.masks, strict=True):
            write_png(self.out / "masks" / name / f"{key}.png", mask.astype(np.uint8) * np.uint8(255))
        if self.probabilities and prediction.probabilities is not None:
            with whole(self.out / "probabilities" / f"{name}.npy") as beside, beside.open("wb") as stream:
                np.save(stream, prediction.probabilities)

    def finish(self) -> None:
        """Each image has its own files."""
