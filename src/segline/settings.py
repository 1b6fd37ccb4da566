"""The words that every section of params.yaml is made of.

Sections themselves stand with what they set: an architecture's beside its network, a loss's with the loss.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Size = tuple[Annotated[int, Field(ge=32, le=8192)], Annotated[int, Field(ge=32, le=8192)]]
"""Height, width in pixels."""


class Section(BaseModel):
    """A section of params.yaml: unknown keys are mistakes, values are not silently converted."""

    model_config = ConfigDict(extra="forbid", frozen=True)
