"""The rates of DeepLab's atrous spatial pyramid pooling (Chen 2017)."""

from __future__ import annotations

from collections.abc import Mapping

RATES: Mapping[int, tuple[int, int, int]] = {16: (6, 12, 18), 8: (12, 24, 36)}
"""By the encoder's output stride: at half the stride twice the rate sees as far."""
