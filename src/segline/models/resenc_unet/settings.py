"""The keys of `arch: resenc_unet`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from segline.models.semantic_settings import SemanticSettings
from segline.settings import Count


class Settings(SemanticSettings):
    """nnU-Net's plain residual-encoder U-Net (Isensee 2024), trained from scratch."""

    kept_bytes: ClassVar[int] = 5_500

    arch: Literal["resenc_unet"] = "resenc_unet"
    widths: list[Count] = Field(default=[32, 64, 128, 256, 512, 512], min_length=2, max_length=9)  # of each stage; each has half the resolution of the last
    blocks: list[Count] = [1, 3, 4, 6, 6, 6]  # residual blocks of each stage
    # after each convolution; nnU-Net's is instance, which is the same in batches of any size. inplace_abn: batch norm and the leaky ReLU behind it in one
    # step that keeps less in training
    norm: Literal["instance", "batch", "group", "inplace_abn"] = "instance"
    deep_supervision: bool = True  # the decoder's lower resolutions predict as well, in training, and count half as much from one to the next
    # how the decoder doubles the resolution; nnU-Net's is a transposed convolution of kernel 2. There are no poolings that max_unpool could undo
    upsample: Literal["nearest", "bilinear", "bed_of_nails", "transposed"] = "transposed"

    @model_validator(mode="after")
    def _one_entry_per_stage(self) -> Settings:
        if len(self.widths) != len(self.blocks):
            raise ValueError(f"widths has {len(self.widths)} entries and blocks {len(self.blocks)}; both have one per stage")
        return self
