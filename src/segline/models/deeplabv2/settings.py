"""The keys of `arch: deeplabv2`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from segline.models.crf.settings import Crf, Refined, RefinedPredict
from segline.models.encoder_settings import Dilated, EncoderSettings
from segline.settings import Count, Positive


class ResNetCrf(Crf):
    """Dense CRF (Krähenbühl 2011): near pixels of like colour get one class. Values by which DeepLab v2 with ResNet-101 was published."""

    appearance_position: Positive = 67.0  # how near: standard deviation, pixels of the image
    appearance_colour: Positive = 3.0  # how like: standard deviation, of values scaled to 0…255
    smoothness_position: Positive = 1.0  # how near: standard deviation, pixels of the image


class ResNetPredict(RefinedPredict):
    """How it predicts: a change reruns evaluation and export, not training. Training validates without it."""

    crf: ResNetCrf | None = None  # refine the classes by the image's colours; `crf: {}` takes the published values


class Settings(Refined, EncoderSettings):
    """DeepLab v2 (Chen 2017): ResNet-101 with holes, and on it a pyramid of convolutions that see differently far."""

    kept_bytes: ClassVar[int] = 4_900

    arch: Literal["deeplabv2"] = "deeplabv2"
    encoder: str = "resnet101"  # any encoder of segmentation_models_pytorch that can be dilated, or `tu-<name>` for one of timm
    output_stride: Dilated = 8  # of the encoder's last feature map
    rates: list[Count] = Field(default=[6, 12, 18, 24], min_length=1)  # distances of the holes in the pyramid's branches
    predict: ResNetPredict = ResNetPredict()
