"""The words that every section of params.yaml is made of.

Sections themselves stand with what they set: an architecture's beside its network, a loss's with the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Size = tuple[Annotated[int, Field(ge=32, le=8192)], Annotated[int, Field(ge=32, le=8192)]]
"""Height, width in pixels."""


class Section(BaseModel):
    """A section of params.yaml: unknown keys are mistakes, values are not silently converted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


AUTO: Final = "auto"


class Undecided:
    """Of a value that params.yaml leaves to the data. Until the plan has decided, it is the key's default, so that whether a network runs can be asked."""


class UndecidedCount(int, Undecided):
    """See `Undecided`."""


@dataclass(frozen=True)
class OrAuto:
    """What a key takes beside its own values: the word `auto`."""

    until_then: Any  # an `Undecided`

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._read, handler(source))

    def _read(self, value: Any, own: core_schema.ValidatorFunctionWrapHandler) -> Any:
        return self.until_then if value == AUTO else own(value)
