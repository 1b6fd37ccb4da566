"""Each gate with what was asked and the figure that answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from segline.metrics.paired import Comparison
from segline.promotion.compare import Figures
from segline.promotion.gates import Gates
from segline.registry import Version

LEVEL = 0.95
"""Of the interval that is told where no confidence is asked for."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Check:
    """One gate: what was asked, and the figure that answered."""

    gate: str
    wanted: str
    found: str
    passed: bool


def checks(version: Version, incumbent: Version | None, figures: Figures, gates: Gates) -> Iterator[Check]:
    """All gates that apply: parity always."""
    yield Check("parity", "passed", "passed" if version.parity else "not proved", version.parity)
    value = figures.candidate
    if gates.at_least is not None:
        good = isinstance(value, float) and value >= gates.at_least - _ROUNDING
        yield Check(f"{figures.key} at least", f"{gates.at_least:g}", _told(value), good)
    if gates.at_most is not None:
        good = isinstance(value, float) and value <= gates.at_most + _ROUNDING
        yield Check(f"{figures.key} at most", f"{gates.at_most:g}", _told(value), good)
    if incumbent is not None:
        yield _not_worse(incumbent, figures, gates)
    elif isinstance(value, str):
        yield Check(f"{figures.key} measured", "a figure on the current data", value, False)
    if gates.latency_ms is not None:
        measured = version.latency_ms
        found = "not measured" if measured is None else f"{measured:.1f} ms"
        yield Check("latency at most", f"{gates.latency_ms:g} ms", found, measured is not None and measured <= gates.latency_ms)


def _not_worse(incumbent: Version, figures: Figures, gates: Gates) -> Check:
    gate, value, earlier, margin = f"{figures.key} not worse", figures.candidate, figures.incumbent, gates.not_worse_by
    if not isinstance(earlier, float) or not isinstance(value, float):
        wanted = earlier if isinstance(earlier, str) else _wanted(incumbent, earlier, figures, margin)
        return Check(gate, wanted, _told(value), False)
    sign = -1 if figures.less_is_better else 1
    if gates.confidence is None:
        found = _told(value) + ("" if figures.comparison is None else f" ({_interval(figures.comparison, LEVEL)})")
        return Check(gate, _wanted(incumbent, earlier, figures, margin), found, sign * (value - earlier) >= -margin - _ROUNDING)
    wanted = f"{_wanted(incumbent, earlier, figures, margin)}, shown with {100 * gates.confidence:g} % confidence"
    if figures.comparison is None:
        told = f"{_told(value)}; {_images(figures.images)} cannot tell"
        return Check(gate, wanted, told, False)
    worst = -figures.comparison.high if figures.less_is_better else figures.comparison.low
    shown = worst >= -margin - _ROUNDING
    found = f"{_told(value)} ({_interval(figures.comparison, gates.confidence)}{_verdict(figures.comparison, sign, margin, shown)})"
    return Check(gate, wanted, found, shown)


def _wanted(incumbent: Version, earlier: float | None, figures: Figures, margin: float) -> str:
    if earlier is None:
        return "a figure to compare with"
    limit, word = (earlier + margin, "+") if figures.less_is_better else (earlier - margin, "−")
    return f"{limit:.4f} (version {incumbent.number}: {earlier:.4f} {word} {margin:g})"


def _interval(comparison: Comparison, level: float) -> str:
    return f"difference {comparison.difference:+.4f}, {100 * level:g} % interval {comparison.low:+.4f} … {comparison.high:+.4f}"


def _verdict(comparison: Comparison, sign: int, margin: float, shown: bool) -> str:
    """sign: 1 where more is better, −1 where less is."""
    if shown:
        return ""
    best = comparison.high if sign > 0 else -comparison.low
    if best < -margin:
        return "; it is worse"
    sentence = f"; {_images(comparison.images)} cannot tell"
    if comparison.needed_images is None:
        return f"{sentence}, and more would not, as long as the difference is just {-sign * margin:+g}"
    return f"{sentence}, about {comparison.needed_images:,} would be needed"


def _images(number: int) -> str:
    return f"{number} image{'' if number == 1 else 's'}"


def _told(value: float | str) -> str:
    return f"{value:.4f}" if isinstance(value, float) else value
