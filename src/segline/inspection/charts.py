"""Bars and points as SVG within a page, in the page's own colours. Numbers are told beside what is drawn."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence

import numpy as np

_WIDTH, _HEIGHT = 560, 240
_LEFT, _BELOW, _ABOVE = 52, 34, 16


def histogram(labels: Sequence[str], values: Sequence[int], what: str) -> str:
    """Upright bars, each with its number above and its label below."""
    most = max([*values, 1])
    step = (_WIDTH - 12) / max(len(values), 1)
    parts = []
    for i, (label, value) in enumerate(zip(labels, values, strict=True)):
        height = (_HEIGHT - _BELOW - _ABOVE) * value / most
        x, y = 6 + i * step, _HEIGHT - _BELOW - height
        parts.append(f'<rect class="bar" x="{x + 0.1 * step:.1f}" y="{y:.1f}" width="{0.8 * step:.1f}" height="{height:.1f}"/>')
        if value:
            parts.append(f'<text x="{x + step / 2:.1f}" y="{y - 4:.1f}" text-anchor="middle">{value:,}</text>')
        parts.append(f'<text class="quiet" x="{x + step / 2:.1f}" y="{_HEIGHT - _BELOW + 15}" text-anchor="middle">{html.escape(label)}</text>')
    return _svg(parts, what)


def sizes(found: Sequence[tuple[int, int]], what: str, *, most: int = 300) -> str:
    """A point for each size (height, width), larger where there are more images of it."""
    counted = Counter(found).most_common(most)
    widest, highest = (max(size[axis] for size, _ in counted) for axis in (1, 0))
    parts = [
        f'<line class="axis" x1="{_LEFT}" y1="{_ABOVE}" x2="{_LEFT}" y2="{_HEIGHT - _BELOW}"/>',
        f'<line class="axis" x1="{_LEFT}" y1="{_HEIGHT - _BELOW}" x2="{_WIDTH - 8}" y2="{_HEIGHT - _BELOW}"/>',
        f'<text class="quiet" x="{_WIDTH - 8}" y="{_HEIGHT - _BELOW + 16}" text-anchor="end">width {widest}</text>',
        f'<text class="quiet" x="4" y="{_ABOVE - 2}">height {highest}</text>',
    ]
    total = len(found)
    for (height, width), number in counted:
        x = _LEFT + (_WIDTH - _LEFT - 24) * width / widest
        y = _HEIGHT - _BELOW - (_HEIGHT - _BELOW - _ABOVE - 10) * height / highest
        radius = 3 + 11 * (number / total) ** 0.5
        parts.append(f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{width}x{height}: {number:,}</title></circle>')
    return _svg(parts, what)


def bins(values: Sequence[float]) -> tuple[list[str], list[int]]:
    """Sides in pixels, by powers of two: labels and numbers."""
    if not len(values):
        return [], []
    powers = np.floor(np.log2(np.maximum(np.asarray(values, dtype=np.float64), 1))).astype(int)
    first, last = int(powers.min()), int(powers.max())
    labels = [f"{2**power}–{2 ** (power + 1) - 1}" if power else "1" for power in range(first, last + 1)]
    return labels, [int((powers == power).sum()) for power in range(first, last + 1)]


def _svg(parts: Sequence[str], what: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(what)}">{"".join(parts)}</svg>'
