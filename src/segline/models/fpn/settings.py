"""The keys of `arch: fpn`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from segline.models.encoder_settings import Dropout, EncoderSettings
from segline.settings import Count


class Settings(EncoderSettings):
    """Semantic FPN (Lin 2017; Kirillov 2019): a pyramid of features, each level upsampled and summed, from segmentation_models_pytorch."""

    kept_bytes: ClassVar[int] = 700

    arch: Literal["fpn"] = "fpn"
    pyramid_channels: Count = 256  # of each level of the pyramid
    # in which the levels are summed; a multiple of 32, as the paper's group norm has 32 groups
    decoder_channels: Annotated[Count, Field(ge=64, multiple_of=32)] = 128
    dropout: Dropout = 0.2  # of whole channels, before the last convolution
