"""What every scorer can do. A scorer keeps what it counted in each image, never the images, so that processes can put theirs together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from segline.data.store import Sample
from segline.metrics.base import Counts
from segline_runtime.predictions import Prediction


class Scorer(Protocol):
    """Counts the predictions of one split against its truth, at the original size of the images. An image taken in twice counts once."""

    def add(self, prediction: Prediction, truth: Sample) -> float:
        """Take one image in; return its own score (0 worst … 1 best), by which images are ranked for the overlays."""

    def counts(self) -> Counts:
        """Everything taken in so far, by image."""

    def state(self) -> Any:
        """What has been taken in so far, picklable."""

    def merge(self, state: Any) -> None:
        """Add what another scorer, in another process, has taken in."""

    def write_plots(self, folder: Path) -> None:
        """Tables and pictures for `dvc plots show` and MLflow."""
