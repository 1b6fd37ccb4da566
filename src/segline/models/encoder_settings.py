"""What the architectures have in common that are built around a classification network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from segline.models.semantic_settings import SemanticSettings
from segline.settings import Fraction, NotNegative

Dropout = Fraction
"""Probability with which an output is set to zero in training."""

Dilated = Literal[8, 16]
"""By how much an encoder shrinks an image whose last stages are dilated instead of strided."""

Auxiliary = Annotated[NotNegative, Field(le=10)]
"""Share of an auxiliary head in the loss; 0: there is none."""


class EncoderSettings(SemanticSettings):
    """A decoder behind a classification network."""

    encoder: str = "resnet18"  # any encoder of segmentation_models_pytorch, or `tu-<name>` for one of timm
    weights: str = "none"  # imagenet, none, or the path of a state-dict file for the encoder
    # sync: batch norm over all GPUs; frozen: the encoder's batch norm as its weights have it; group (at most 32 groups), instance: for small batches
    # inplace_abn: batch norm over all processes with a leaky ReLU in one step, where a ReLU follows: a fifth to a third less memory in training
    norm: Literal["batch", "sync", "frozen", "group", "instance", "inplace_abn"] = "batch"

    @model_validator(mode="after")
    def _frozen_at_something(self) -> EncoderSettings:
        if self.norm == "frozen" and not self.pretrained:
            raise ValueError("`norm: frozen` keeps the statistics that the encoder's weights came with, and weights is none; choose weights, or another norm")
        return self
