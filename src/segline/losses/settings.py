"""The section `loss` of a model: a weighted sum of losses, `{cross_entropy: 1.0, dice: {weight: 0.5, epsilon: 2}}`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import create_model, model_serializer, model_validator

from segline.losses.base import LossSettings
from segline.losses.catalog import LOSSES, settings
from segline.losses.truth_maps import TruthMap
from segline.settings import Section


class LossSum(Section):
    """The losses of a sum by their words; those that are not named are None."""

    @model_validator(mode="before")
    @classmethod
    def _number_is_weight(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"weight": given} if isinstance(given, int | float) and not isinstance(given, bool) else given for name, given in value.items()}

    @model_validator(mode="after")
    def _some_loss(self) -> Self:
        if not any(term.weight for term in self.terms().values()):
            raise ValueError("at least one loss needs a weight above 0")
        return self

    @model_serializer
    def _named_alone(self) -> dict[str, Any]:
        # A loss that nobody chose must not show: a new one in the catalogue would look like a change of every model.
        return {name: term.model_dump(mode="json") for name, term in self.terms().items()}

    def terms(self) -> dict[str, LossSettings]:
        """The losses that are named, in the catalogue's order."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: term for name, term in named.items() if term is not None}

    def wanted_maps(self) -> tuple[TruthMap, ...]:
        """What the losses that count read of each image beside the class ids, each once."""
        wanted = [term.wanted_map for term in self.terms().values() if term.weight]
        return tuple(dict.fromkeys(one for one in wanted if one is not None))

    @classmethod
    def of(cls, **weights: float) -> Self:
        """A sum with these weights and each loss's defaults."""
        return cls.model_validate(weights)


if TYPE_CHECKING:
    Loss = LossSum
else:
    Loss = create_model("Loss", __base__=LossSum, __doc__=LossSum.__doc__, **{name: (settings(name) | None, None) for name in LOSSES})
