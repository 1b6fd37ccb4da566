"""The keys of `arch: segformer`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.encoder_settings import Dropout, EncoderSettings
from segline.settings import Count


class Settings(EncoderSettings):
    """SegFormer (Xie 2021): a hierarchical transformer and a decoder of linear layers, from segmentation_models_pytorch."""

    kept_bytes: ClassVar[int] = 1_100

    arch: Literal["segformer"] = "segformer"
    encoder: str = "mit_b0"  # mit_b0 … mit_b5, or any other encoder of segmentation_models_pytorch or timm
    decoder_channels: Count = 256  # of the decoder: 256 with mit_b0 and mit_b1, 768 with the larger ones in the paper
    dropout: Dropout = 0.0  # of whole channels, before the last convolution; the paper's code has 0.1
