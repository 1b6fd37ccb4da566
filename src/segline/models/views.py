"""The views of an image in which a network is shown it when it predicts."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class View:
    """One way to show an image to a network."""

    factor: Fraction = Fraction(1)  # how much larger than the geometry says
    upside_down: bool = False
    mirrored: bool = False  # left to right

    @property
    def flipped(self) -> bool:
        return self.upside_down or self.mirrored

    def axes(self, rows: int, columns: int) -> list[int]:
        """The axes to flip, of an array whose rows and columns lie along these."""
        return [axis for axis, turned in ((rows, self.upside_down), (columns, self.mirrored)) if turned]
