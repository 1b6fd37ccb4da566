"""The keys of `arch: unet_2015`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.semantic_settings import SemanticSettings
from segline.models.settings import Input, Tile
from segline.settings import Count, Fraction

_REACH, _BILINEAR_REACH = 107, 122
"""Pixels: of two 3×3 convolutions and a pooling on each of four levels, and the same way back; with interpolation one more on each level."""


class OverlapTile(Tile):
    """As every model's tile; the paper's strategy by default."""

    overlap: Count | Literal["exact"] = "exact"


class OverlapTileInput(Input):
    """As every model's input; large images are predicted by the paper's overlap-tile strategy."""

    tile: OverlapTile | None = None  # for large images; needs `fit: native`


class Settings(SemanticSettings):
    """The original U-Net (Ronneberger 2015), from scratch; `unet` is the one with an encoder that can be pre-trained."""

    stride: ClassVar[int] = 16
    kept_bytes: ClassVar[int] = 6_200

    arch: Literal["unet_2015"] = "unet_2015"
    # valid, as in the paper: convolutions shrink their maps, and the image is mirrored at its borders by what they take; same: maps keep their size, which is
    # several times as fast on small images
    padding: Literal["valid", "same"] = "valid"
    width: Count = 64  # channels of the first level; each level down has twice as many
    dropout: Fraction = 0.5  # at the end of the way down, in training
    # after each convolution; the paper's network has none. inplace_abn: batch norm and a leaky ReLU in one step that keeps less in training
    norm: Literal["none", "batch", "group", "inplace_abn"] = "none"
    # how the way up doubles the resolution; the paper's is a transposed convolution of kernel 2. max_unpool does not fit maps that shrink
    upsample: Literal["nearest", "bilinear", "bed_of_nails", "transposed"] = "transposed"
    input: OverlapTileInput = OverlapTileInput()

    @property
    def reach(self) -> int | None:
        """A map's own statistics, as group norm has them, are of the whole image."""
        if self.norm == "group":
            return None
        return _BILINEAR_REACH if self.upsample == "bilinear" else _REACH
