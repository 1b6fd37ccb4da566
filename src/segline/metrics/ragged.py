"""Tables whose rows belong to images, a different number to each: cells of a confusion matrix, detections, true objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ragged:
    """Rows `offsets[i]` … `offsets[i + 1]` of every column are those of image i. offsets `(N + 1,)`; columns `(M, …)`."""

    offsets: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def image(self) -> NDArray[np.int64]:
        """Index of the image that each row belongs to `(M,)`."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @classmethod
    def of(cls, images: Sequence[Mapping[str, NDArray[Any]]], empty: Mapping[str, NDArray[Any]]) -> Self:
        """From the columns of each image; `empty` has the columns of an image without rows, and says their types."""
        lengths = [len(next(iter(columns.values()))) for columns in images]
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        return cls(offsets, {name: np.concatenate([nothing, *(columns[name] for columns in images)]) for name, nothing in empty.items()})

    def select(self, indices: NDArray[np.int64]) -> Self:
        """The rows of some images, in the given order."""
        lengths = np.diff(self.offsets)[indices]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        # Row j of the result is as far behind the start of its image as in the source.
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[indices] - offsets[:-1], lengths)
        return type(self)(offsets, {name: column[rows] for name, column in self.columns.items()})

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The images of the first, then those of the second, …"""
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls(offsets, {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns})
