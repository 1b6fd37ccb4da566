"""Any image as people can look at it: 8-bit RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.drawing.paint import Picture

_DARKEST, _BRIGHTEST = 1.0, 99.0  # percentiles of a channel that become black and full: single hot pixels must not darken everything else


def view(image: NDArray[Any]) -> Picture:
    """An image `(H, W)` or `(H, W, C)` of any dtype as RGB uint8 `(H, W, 3)`; RGB uint8 comes back as it is.

    One channel is repeated, of more than three the first three are shown, and a missing third is black.
    Values that are not 8-bit are stretched for each channel between two of its percentiles; what is no number is black.
    """
    channels = image[:, :, None] if image.ndim == 2 else image
    shown = channels[:, :, :3]
    if shown.dtype != np.uint8:
        shown = np.stack([_stretched(shown[:, :, c]) for c in range(shown.shape[2])], axis=2)
    match shown.shape[2]:
        case 1:
            return np.repeat(shown, 3, axis=2)
        case 2:
            return np.concatenate([shown, np.zeros_like(shown[:, :, :1])], axis=2)
        case _:
            return shown


def _stretched(channel: NDArray[Any]) -> Picture:
    """One channel `(H, W)` as uint8; a constant one is black."""
    values = channel.astype(np.float64)
    known = values[np.isfinite(values)]
    if not known.size:
        return np.zeros(values.shape, dtype=np.uint8)
    low, high = np.percentile(known, (_DARKEST, _BRIGHTEST))
    if high <= low:
        low, high = known.min(), known.max()
    shares = (values - low) / max(high - low, np.finfo(np.float64).tiny)
    return np.asarray(255 * np.clip(np.nan_to_num(shares, nan=0.0), 0, 1)).round().astype(np.uint8)
