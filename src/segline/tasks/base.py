"""What a task is, without torch: evaluator, promoter, predictor and command line know tasks by this interface alone.

Each task is one folder beside this file: `task` (light), `learning` (torch: see `segline.tasks.learning`), and what they are made of.
Its twin in `segline_runtime` turns a network's outputs into predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from segline.data.store import Sample, Truth
from segline.drawing.sheet import Panels
from segline.metrics.details import Detail
from segline.metrics.scorer import Scorer
from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo, Geometry, Specification

Picture = NDArray[np.uint8]
"""RGB `(H, W, 3)`."""


class ResultFiles(Protocol):
    """The files of `segline predict`."""

    def add(self, name: str, file_name: str, image: NDArray[np.generic], prediction: Prediction) -> None:
        """Write what belongs to one image. `name`: of its output, without suffix; `file_name`: of the image, relative to the source."""

    def finish(self) -> None:
        """Write what belongs to all of them."""


class Task(Protocol):
    """Everything light that tells one task from another."""

    name: str
    truths: tuple[Truth, ...]  # what it learns from and is scored by; an augmentation follows the first, and takes the other with it
    metric: str  # key of the figure that picks the best epoch; higher is better
    counts: str  # kind of counts that its scorer keeps (`segline.metrics.base.Counts.kind`)
    metrics: tuple[str, ...]  # words of the metrics' catalogue that `evaluate.metrics: auto` means
    limits: Mapping[str, float]  # of the figures of `disagreement` between a model and its export, on any one image (parity)
    beyond_rounding: frozenset[str]  # the figures that rounding explains never, if they are above their limit

    def scorer(self, classes: Sequence[ClassInfo], details: Sequence[Detail] = ()) -> Scorer:
        """A fresh scorer; `details`: what it counts beside what it always does."""

    def ceiling(self, truth: Sample, geometries: Sequence[Geometry], specification: Specification) -> Prediction:
        """The truth as a perfect network would give it back: sent through the model's resizing, its targets and its pasting.

        geometries: of the network, or of those that the model is made of.
        """

    def disagreement(self, first: Prediction, second: Prediction) -> dict[str, float]:
        """How far two predictions for the same image are apart; all figures are 0 where they agree."""

    def findings(self, prediction: Prediction) -> int:
        """How much of a prediction there is to compare: of two with 0, `disagreement` says nothing."""

    def overlay(self, image: Picture, prediction: Prediction, classes: Sequence[ClassInfo]) -> Picture:
        """The prediction in colours over the photograph, with a legend added; small images are enlarged."""

    def panels(self, sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], image: Picture) -> Panels:
        """Truth, prediction and error over `image`, the sample's as 8-bit RGB at the panels' size."""

    def result_files(self, out: Path, specification: Specification, *, probabilities: bool) -> ResultFiles:
        """The writer of `segline predict` for the folder `out`."""
