"""The words of the key `upsample`, wherever a decoder that is written here doubles the resolution."""

from __future__ import annotations

from typing import Literal

Upsampling = Literal["nearest", "bilinear", "bed_of_nails", "max_unpool", "transposed"]
"""What decoders offer, as far as it fits them; `segline.models.upsampling.layers` says what each does."""
