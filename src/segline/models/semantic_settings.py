"""What every semantic architecture has beside its own keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import Field, model_validator

from segline.losses.catalog import LOSSES
from segline.losses.multilabel import catalog as multilabel
from segline.losses.settings import Loss
from segline.losses.truth_maps import TruthMap
from segline.models.settings import ModelSettings


def _is_false(value: object) -> bool:
    """A key that stands in no plan where it is false: a model from before the key says the same."""
    return value is False


class SemanticSettings(ModelSettings):
    """A network that gives each pixel a class; its loss is a weighted sum of losses of the catalogue."""

    task_of_arch: ClassVar[str] = "semantic"
    # true: a pixel may be of several classes (task multilabel), learnt from the data's objects, which may overlap, and of classes that have none from the
    # class masks; the background is what nothing covers. Its losses: binary_cross_entropy, which is then the default, binary_focal, dice, jaccard, tversky,
    # lovasz
    multilabel: bool = Field(default=False, exclude_if=_is_false)
    loss: Loss = Loss.of(cross_entropy=1.0)  # what is minimised

    @property
    def task(self) -> str:
        return "multilabel" if self.multilabel else self.task_of_arch

    @property
    def wanted_maps(self) -> tuple[TruthMap, ...]:
        return self.loss.wanted_maps()

    @property
    def loss_modules(self) -> tuple[str, ...]:
        """The modules that compute its losses."""
        table = multilabel.LOSSES if self.multilabel else LOSSES
        return tuple(table[name] for name in self.loss.terms())

    @model_validator(mode="after")
    def _of_several_classes(self) -> Self:
        if self.multilabel:
            if "loss" not in self.model_fields_set:
                self.__dict__["loss"] = Loss.of(**{multilabel.DEFAULT: 1.0})  # settings are frozen once they are made, and these are being made
            problems = list(self._not_of_one_class())
            if problems:
                raise ValueError("; ".join(problems))
        return self

    def _not_of_one_class(self) -> Iterator[str]:
        """What of the entry takes each pixel for one of a single class."""
        for name, term in self.loss.terms().items():
            if name not in multilabel.LOSSES:
                yield f"loss.{name} takes each pixel for one of a single class, and with `multilabel: true` it may be of several; use {_words()}"
            elif term.wanted_map is not None:
                yield f"loss.{name}.border reads a map of class masks, and with `multilabel: true` there are none; remove it"
        if self.predict.refinement is not None:
            yield "predict.crf gives each pixel a single class, and with `multilabel: true` it may be of several; remove it"


def _words() -> str:
    *others, last = multilabel.LOSSES
    return f"{', '.join(others)} or {last}"
