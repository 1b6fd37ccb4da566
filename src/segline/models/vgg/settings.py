"""The keys of every architecture that is made of VGG-16."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from segline.models.semantic_settings import SemanticSettings
from segline.settings import Count


class VggSettings(SemanticSettings):
    """VGG-16 with pre-trained weights or without, with normalisation or without."""

    weights: str = "none"  # imagenet, none, or the path of a state-dict file of torchvision's vgg16 (vgg16_bn where norm is not none)
    # after each convolution; none: VGG-16 as it was published. inplace_abn: batch norm and a leaky ReLU in one step that keeps less in training
    norm: Literal["none", "batch", "group", "inplace_abn"] = "none"
    width: Count = 64  # channels of the first stage, and all others in proportion; the paper's 64 is what ImageNet weights have

    @model_validator(mode="after")
    def _weights_fit(self) -> VggSettings:
        if self.weights == "imagenet" and self.width != 64:
            raise ValueError(f"`weights: imagenet` are those of `width: 64`, and width is {self.width}; set `weights: none` or remove width")
        return self
