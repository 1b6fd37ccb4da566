"""The keys of `arch: patch`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from segline.models.semantic_settings import SemanticSettings
from segline.settings import Count, Fraction


class Settings(SemanticSettings):
    """A classifier of patches, slid over the image (Farabet 2013): each pixel's class is that of the patch around it. Slow, and sees no further."""

    stride: ClassVar[int] = 1
    kept_bytes: ClassVar[int] = 15_000

    arch: Literal["patch"] = "patch"
    kernel: int = Field(default=7, ge=2, le=15)  # side of each convolution, pixels; with three convolutions of 7 a patch has 46 × 46 pixels
    widths: list[Count] = Field(default=[16, 64, 256], min_length=1, max_length=5)  # of the convolutions; a pooling stands between two
    hidden: Count = 1024  # units of the classifier's hidden layer
    dropout: Fraction = 0.5  # of the hidden layer, in training
    # after each convolution; the paper's network has none. inplace_abn: batch norm and a leaky ReLU in one step that keeps less in training
    norm: Literal["none", "batch", "group", "inplace_abn"] = "none"
