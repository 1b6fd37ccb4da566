"""FC-DenseNet56 (Jégou 2017): see `segline.models.tiramisu.network`."""

from __future__ import annotations

from segline.models.tiramisu.network import build

__all__ = ["build"]
