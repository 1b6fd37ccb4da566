"""The keys of every architecture whose predictions a fully connected conditional random field may refine."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from segline.models.semantic_settings import SemanticSettings
from segline.models.settings import Predict
from segline.settings import NotNegative, Positive, Section
from segline_runtime import specification


class Crf(Section):
    """Dense CRF (Krähenbühl 2011): near pixels of like colour get one class. Values by which DeepLab-LargeFOV was published; some 8 s a megapixel."""

    iterations: Annotated[int, Field(ge=1, le=100)] = 10  # of mean field
    appearance: NotNegative = 4.0  # weight of near pixels of like colour
    appearance_position: Positive = 49.0  # how near: standard deviation, pixels of the image
    appearance_colour: Positive = 5.0  # how like: standard deviation, of values scaled to 0…255
    smoothness: NotNegative = 3.0  # weight of near pixels of any colour
    smoothness_position: Positive = 3.0  # how near: standard deviation, pixels of the image

    @model_validator(mode="after")
    def _has_an_effect(self) -> Crf:
        if self.appearance == self.smoothness == 0:
            raise ValueError("appearance and smoothness are both 0, so nothing would be refined; give one of them a weight, or remove crf")
        return self


class RefinedPredict(Predict):
    """How it predicts: a change reruns evaluation and export, not training. Training validates without it."""

    crf: Crf | None = None  # refine the classes by the image's colours; `crf: {}` takes the published values

    @property
    def refinement(self) -> specification.Crf | None:
        return None if self.crf is None else specification.Crf(**self.crf.model_dump())


class Refined(SemanticSettings):
    """A semantic architecture with refinement."""

    predict: RefinedPredict = RefinedPredict()
