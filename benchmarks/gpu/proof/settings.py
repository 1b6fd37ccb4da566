"""What every part is told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""The checkout, or the folder `code` of a bundle."""

PARTS = ("works", "fast", "learns", "onnx")

GOALS = {"unet": 1.5, "maskrcnn": 1.3}
"""Of the line's images per second, over the plain script's, each at its defaults and fed by its loader."""

LOADER_GOAL = 0.95
"""Of images per second fed by the loader, over those fed from memory."""


@dataclass(frozen=True)
class Settings:
    """Passed to the processes of the parts as JSON."""

    out: Path
    scratch: Path
    tiny: bool
    device: str  # cuda or cpu
    data: Path | None  # holds camvid/ and PennFudanPed/, either may be missing
    weights: Path | None  # of `encoder`
    encoder: str
    weights_mib: float  # largest file of kept weights

    @property
    def accelerator(self) -> str:
        """Lightning's word."""
        return "gpu" if self.device == "cuda" else "cpu"

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        values = json.loads(text)
        paths = {name: None if values[name] is None else Path(values[name]) for name in ("out", "scratch", "data", "weights")}
        return cls(**{**values, **paths})
