"""The letters of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import ImageFont


@cache
def font(size: float, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib carries it: it knows far more scripts than Pillow's own font. `size` in pixels."""
    import matplotlib as mpl

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), size)


def letter_size(shape: Sequence[int]) -> int:
    """Of the letters in a picture `(H, W, …)`, in pixels: in large ones they grow with it, so that they can be read when it is shown small."""
    return max(11, round(math.sqrt(shape[0] * shape[1]) / 52))


def shortened(text: str, letters: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, cut where it would be wider than `width` pixels."""
    while letters.getlength(text) > width and len(text) > 2:
        text = f"{text[:-2]}…"
    return text


def brief(name: str, letters: int = 20) -> str:
    """A class's name, cut to `letters`: into a photograph, a long one would cover too much; legends and axes have more room."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
