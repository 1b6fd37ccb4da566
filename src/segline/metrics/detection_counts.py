"""Counts of instance segmentation: for each image its detections, each with class, score and whether it is right, and its true objects.

Legend: N images, K classes, D detections of all images, G true objects of all images, A ranges of area, T thresholds of IoU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from segline.metrics.per_image import PerImage

KINDS = ("mask", "box")
"""What overlaps: the masks or the boxes."""

AREAS = ("all", "small", "medium", "large")
"""COCO's ranges of a true object's mask area in pixels: small up to 32², medium up to 96², large."""

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU from which a detection is right, (T,)."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""At which interpolated precision is read."""


@dataclass(frozen=True, eq=False)
class DetectionCounts(PerImage):
    """See `segline.metrics.base.Counts`.

    Table `found`, a row for each detection, within an image by class and falling score: `label` class id, `score`, and by kind, area and threshold
    `hit` (it is a true object) and `ignored` (neither right nor wrong: it lies in a crowd, or is or finds an object out of the range); others are wrong.
    Table `truth`, a row for each true object: `label`, and `counted` by area (it is to be found: no crowd, and within the range).
    On request, `segments`: see `segline.metrics.segment_counts`.
    """

    kind: ClassVar[str] = "detections"
    empty: ClassVar = {
        "found": {
            "label": np.zeros(0, np.int32),
            "score": np.zeros(0, np.float64),
            "hit": np.zeros((0, len(KINDS), len(AREAS), len(THRESHOLDS)), np.bool_),
            "ignored": np.zeros((0, len(KINDS), len(AREAS), len(THRESHOLDS)), np.bool_),
        },
        "truth": {"label": np.zeros(0, np.int32), "counted": np.zeros((0, len(AREAS)), np.bool_)},
    }
    on_request: ClassVar = {
        "segments": {
            "label": np.zeros(0, np.int32),
            **{name: np.zeros(0, np.int64) for name in ("matched", "wrong", "missed")},
            "iou": np.zeros(0, np.float64),
        },
    }

    @property
    def label(self) -> NDArray[np.int32]:
        """Class of each detection `(D,)`."""
        return self.tables["found"].columns["label"]

    @property
    def score(self) -> NDArray[np.float64]:
        """Score of each detection `(D,)`."""
        return self.tables["found"].columns["score"]

    @cached_property
    def image(self) -> NDArray[np.int64]:
        """Index of the image of each detection `(D,)`."""
        return self.tables["found"].image

    @cached_property
    def place(self) -> NDArray[np.int64]:
        """Of each detection among those of its class in its image, the best one's is 0 `(D,)`."""
        of_class = self.image * len(self.classes) + self.label  # rows stand in this order
        return np.arange(len(of_class)) - np.searchsorted(of_class, of_class)

    def hit(self, kind: str) -> NDArray[np.bool_]:
        """Whether each detection is right `(D, A, T)`."""
        found: NDArray[np.bool_] = self.tables["found"].columns["hit"][:, KINDS.index(kind)]
        return found

    def ignored(self, kind: str) -> NDArray[np.bool_]:
        """Whether each detection is neither right nor wrong `(D, A, T)`."""
        found: NDArray[np.bool_] = self.tables["found"].columns["ignored"][:, KINDS.index(kind)]
        return found

    @cached_property
    def to_find(self) -> NDArray[np.int64]:
        """True objects that are to be found, `(N, K, A)`."""
        truth = self.tables["truth"]
        numbers = np.zeros((len(self), len(self.classes), len(AREAS)), dtype=np.int64)
        np.add.at(numbers, (truth.image, truth.columns["label"]), truth.columns["counted"])
        return numbers

    def ranked(self, label: int) -> NDArray[np.int64]:
        """Indices of a class's detections by falling score; equal ones in the order of the images, as pycocotools has them."""
        mine = np.flatnonzero(self.label == label)
        return mine[np.argsort(-self.score[mine], kind="stable")]
