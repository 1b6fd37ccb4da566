"""Differences with their intervals, one below the other, in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segline.drawing.canvas import FAINT, INK, canvas, panel, save
from segline.drawing.fonts import brief

FIRST, SECOND, OPEN = "#b5533a", "#3a78b5", "#8d99a6"
"""Where the first is higher, where the second is, and where it cannot be told."""

_LONGEST_NAME = 44


@dataclass(frozen=True)
class Difference:
    """One line: second minus first."""

    group: str
    name: str
    value: float
    low: float
    high: float


def differences_picture(differences: Sequence[Difference], *, title: str, first: str, second: str, file: Path) -> None:
    """Each difference as a point with its interval, coloured by what it shows; the line at 0 is where the two are equal."""
    rows = max(len(differences), 1) + len({one.group for one in differences})
    figure = canvas(8.4, 1.5 + 0.27 * rows)
    axes = panel(figure)
    places: list[float] = []
    labels: list[str] = []
    place, group = 0.0, None
    for one in differences:
        if one.group != group:
            group = one.group
            place += 0.5
            axes.text(0, place, group, transform=axes.get_yaxis_transform(), fontsize=9, fontweight="bold", color=INK, va="center", ha="left")
            place += 1
        colour = SECOND if one.low > 0 else FIRST if one.high < 0 else OPEN
        axes.plot([one.low, one.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([one.value], [place], color=colour, marker="o", markersize=5)
        places.append(place)
        labels.append(brief(one.name, _LONGEST_NAME))
        place += 1
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(places, labels, fontsize=8.5)
    axes.set_ylim(max(place, 1) - 0.3, -0.3)
    axes.set_xlabel(f"{brief(second, _LONGEST_NAME)} minus {brief(first, _LONGEST_NAME)}", color=INK)
    axes.set_title(title, color=INK, fontsize=11)
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    save(figure, file)
