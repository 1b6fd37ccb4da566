"""The keys of the fully convolutional DenseNets (Jégou 2017)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from segline.models.semantic_settings import SemanticSettings
from segline.models.upsampling.settings import Upsampling
from segline.settings import Count, Fraction


class TiramisuSettings(SemanticSettings):
    """Dense blocks on the way down and up; nothing is pre-trained."""

    kept_bytes: ClassVar[int] = 15_000

    first_filters: Count = 48  # channels of the first convolution
    layers: list[Count] = Field(default=[4, 4, 4, 4, 4], min_length=1)  # of the dense blocks on the way down; on the way up their mirror image
    bottom: Count = 4  # layers of the dense block at the lowest resolution
    growth: Count = 12  # channels that each layer adds
    dropout: Fraction = 0.2  # after each convolution, in training
    # group: group norm (at most 32 groups) in place of batch norm, for small batches; inplace_abn: batch norm and a leaky ReLU in one step that keeps less in
    # training
    norm: Literal["batch", "group", "inplace_abn"] = "batch"
    upsample: Upsampling = "transposed"  # how a transition up doubles the resolution; the paper's is a transposed convolution of kernel 3
