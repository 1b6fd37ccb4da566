"""What is counted in an image on request alone, because it costs time or needs more than the prediction itself: each detail has a table of the counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from segline.data.store import Sample
from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo

Rows = Mapping[str, NDArray[Any]]
"""Column → the rows of one image."""


@dataclass(frozen=True)
class Detail:
    """A table of the counts that scorers fill when a metric asks for it; its columns stand in `on_request` of the counts."""

    table: str
    record: Callable[[Prediction, Sample, int], Rows]  # prediction, truth, number of classes → rows of the image
    probabilities: bool = False  # whether it reads class probabilities, so that the predictor must give them


@runtime_checkable
class Detailed(Protocol):
    """A metric that reads more than a task's scorer counts anyway. Of counts that lack it, it has no figures."""

    @property
    def details(self) -> tuple[Detail, ...]:
        """What it reads."""


@runtime_checkable
class Particular(Protocol):
    """A metric that not all classes can be scored by."""

    def misfit(self, classes: Sequence[ClassInfo]) -> str | None:
        """Why these classes have no figures, as the end of a sentence that begins with the metric's word; None where they have."""


@runtime_checkable
class Pictured(Protocol):
    """A metric that has a picture or a table of its own."""

    def write_plots(self, counts: Any, classes: Sequence[ClassInfo], folder: Path) -> None:
        """Write them into the folder of plots."""


def wanted(metrics: Sequence[object]) -> tuple[Detail, ...]:
    """The details that some metrics read, each once."""
    found = [detail for metric in metrics if isinstance(metric, Detailed) for detail in metric.details]
    return tuple(dict.fromkeys(found))


def rows_of(details: Sequence[Detail], prediction: Prediction, truth: Sample, classes: int) -> dict[str, Rows]:
    """The rows of one image in the tables of these details."""
    return {detail.table: detail.record(prediction, truth, classes) for detail in details}
