"""The figures of several metrics together, as metrics.json holds them."""

from __future__ import annotations

from collections.abc import Sequence

from segline.metrics.base import Counts, Metric
from segline_runtime.specification import ClassInfo


def figures(counts: Counts, metrics: Sequence[Metric], classes: Sequence[ClassInfo]) -> dict[str, float]:
    """Flat figures: those of the whole split first, then those of single classes (`<figure>/<class>`)."""
    found: dict[str, float] = {}
    for metric in metrics:
        found |= metric.figures(counts, classes)
    whole = {key: value for key, value in found.items() if "/" not in key}
    return whole | found
