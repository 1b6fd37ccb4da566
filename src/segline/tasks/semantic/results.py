"""The files of `segline predict` for semantic models.

masks/<name>.png           class ids
probabilities/<name>.npy   on request: float32 (K, H, W)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.files import whole
from segline.tasks.results import write_png
from segline_runtime.predictions import Prediction, SemanticPrediction
from segline_runtime.specification import Specification


class SemanticResults:
    """See `segline.tasks.base.ResultFiles`."""

    def __init__(self, out: Path, specification: Specification, *, probabilities: bool) -> None:  # noqa: ARG002
        self.out = out
        self.probabilities = probabilities

    def add(self, name: str, file_name: str, image: NDArray[Any], prediction: Prediction) -> None:  # noqa: ARG002
        assert isinstance(prediction, SemanticPrediction)
        write_png(self.out / "masks" / f"{name}.png", prediction.class_ids)
        if self.probabilities and prediction.probabilities is not None:
            with whole(self.out / "probabilities" / f"{name}.npy") as beside, beside.open("wb") as stream:
                np.save(stream, prediction.probabilities)

    def finish(self) -> None:
        """Each image has its own files."""
