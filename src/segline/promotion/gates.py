"""The section `promote.<model>` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from segline.settings import NotNegative, Positive, Section


class Gates(Section):
    """What a version must reach to be promoted. Parity is always asked for."""

    metric: str | None = None  # key of metrics.json, of a metric that evaluate.metrics asks for; default: the task's own (miou, mask_ap)
    at_least: float | None = None  # what the metric must reach on the scored split
    at_most: float | None = None  # in its place for a metric of which less is better (ece, pixel_error)
    not_worse_by: NotNegative = 0.0  # by how much it may be worse than the incumbent, both run on the same data
    confidence: Annotated[float, Field(ge=0.5, lt=1)] | None = None  # with which it must be shown to be not worse, e.g. 0.95; null: the figure decides
    latency_ms: Positive | None = None  # median per image, as measured by export
