"""What a task is to the runtime: one file beside this one for each, and one line in `segline_runtime.tasks`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from numpy.typing import NDArray

from segline_runtime.geometry import Window
from segline_runtime.specification import Specification, Tile


class Prediction:
    """What a model says of one image; each task has its own type. All sizes and coordinates are those of the image."""

    task: ClassVar[str]
    """Name of the task."""


P = TypeVar("P", bound=Prediction)


class RuntimeTask(ABC, Generic[P]):
    """From a model's named outputs to predictions and answers. The trained network and the ONNX model share it, so they differ in their numbers alone."""

    name: ClassVar[str]
    """The specification's `task`."""
    detail: ClassVar[frozenset[str]] = frozenset()
    """Outputs that are only brought back when class probabilities are asked for."""

    @abstractmethod
    def decode(self, outputs: Mapping[str, NDArray[Any]], size: tuple[int, int]) -> list[P]:
        """Predictions for the images of one batch, all of `size` (height, width)."""

    def refines(self, specification: Specification) -> bool:  # noqa: ARG002
        """Whether `refined` changes anything; it then needs class probabilities."""
        return False

    def refined(self, prediction: P, image: NDArray[Any], specification: Specification, *, probabilities: bool) -> P:  # noqa: ARG002
        """What the specification lets the image `(H, W, C)`, or a window of one, correct of a prediction for it.

        `probabilities`: keep class probabilities, where the task has them.
        """
        return prediction

    @abstractmethod
    def join(self, windows: Sequence[Window], predictions: Iterable[P], size: tuple[int, int], tile: Tile, *, probabilities: bool = False) -> P:
        """One prediction for an image of `size` from those of its windows, each in its window's pixels and at full detail (with probabilities, unless the
        tile has a context and they are not wanted).

        `predictions` come in the order of `windows` and are read once, so that they need not all be in memory.
        `probabilities`: keep class probabilities, where the task has them.
        """

    @abstractmethod
    def answer(self, prediction: P, specification: Specification) -> dict[str, Any]:
        """A prediction in the form that JSON can carry."""
