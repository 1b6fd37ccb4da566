"""Two models on the same test images: how much better is one, over all, for each class and for each group of images, and do the images suffice to tell?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from segline.choices import hint
from segline.comparison import verdict
from segline.comparison.common import common
from segline.comparison.scored import Scored
from segline.comparison.slices import Slices
from segline.errors import DataError
from segline.metrics import catalog
from segline.metrics.base import Counts, Metric
from segline.metrics.details import wanted as read_by
from segline.metrics.figures import figures
from segline.metrics.intervals import Resampling
from segline.metrics.paired import Comparison, paired
from segline.tasks import catalog as tasks
from segline_runtime.specification import ClassInfo

VERSION = 1
"""Of what `to_json` gives."""

Kind = Literal["figure", "class", "slice"]


@dataclass(frozen=True)
class Row:
    """One figure of both models on some of the images."""

    kind: Kind
    by: str  # slices: what the images were grouped by; else empty
    name: str  # of the figure, the class or the group
    key: str  # of metrics.json
    images: int
    first: float | None  # None where it is not defined
    second: float | None
    comparison: Comparison | None  # second minus first; None where it is not defined, or for fewer than two images


@dataclass(frozen=True)
class Report:
    """What a comparison says. `rows[0]` is the figure that was asked for, on all images."""

    first: str
    second: str
    key: str
    word: str  # `better`, or `higher` for a figure of which more need not be better
    split: str | None
    level: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def whole(self) -> Row:
        return self.rows[0]

    @property
    def sentence(self) -> str:
        return verdict.sentence(self.whole.comparison, first=self.first, second=self.second, level=self.level, word=self.word)

    def to_json(self) -> dict[str, Any]:
        """For programs; `difference` is second minus first."""
        return {
            "version": VERSION,
            "first": self.first,
            "second": self.second,
            "metric": self.key,
            "split": self.split,
            "images": self.whole.images,
            "level": self.level,
            "verdict": self.sentence,
            "rows": [_row_to_json(row, self) for row in self.rows],
            "notes": list(self.notes),
        }


def compare(
    first: Scored,
    second: Scored,
    *,
    slices: Callable[[Counts], Slices],
    key: str | None = None,
    resampling: Resampling,
    some: bool = False,
) -> Report:
    """Compare two models by the figure `key` (default: their task's own) on the images that both were scored on.

    slices: groups of the images of counts. some: see `segline.comparison.common`. Raises DataError for what cannot be compared.
    """
    first, second = _told_apart(first, second)
    both = common(first, second, some=some)
    own = tasks.get(first.task).metric
    wanted = own if key is None else key
    metric = metric_of(wanted, both.first, first.classes)
    lacking = [side.name for side in (first, second) if any(detail.table not in side.counts.tables for detail in read_by([metric]))]
    if lacking:
        raise DataError(
            *(f"{name} was evaluated without what {wanted} is counted from. Add it to evaluate.metrics in params.yaml and run `dvc repro`." for name in lacking)
        )
    pair = _Pair(both.first, both.second, metric, first.classes, resampling)
    rows = [pair.row("figure", "", wanted, wanted)]
    there = _defined(metric, both.first, first.classes) | _defined(metric, both.second, first.classes)
    rows += [pair.row("figure", "", other, other) for other in there if "/" not in other and other != wanted]
    of_classes = [other for other in there if other.startswith(f"{wanted}/")] or [other for other in there if "/" in other]
    rows += [pair.row("class", "", other.partition("/")[2], other) for other in of_classes if "/" not in wanted]
    groups = slices(both.first)
    for group in groups.found:
        part = _Pair(both.first.select(group.images), both.second.select(group.images), metric, first.classes, resampling)
        rows.append(part.row("slice", group.by, group.name, wanted))
    notes = (*both.notes, *groups.notes, *_by_chance(rows, resampling.level))
    word = "better" if wanted == own else "higher"
    return Report(first.name, second.name, wanted, word, first.split if first.split == second.split else None, resampling.level, tuple(rows), notes)


@dataclass(frozen=True)
class _Pair:
    first: Counts
    second: Counts
    metric: Metric
    classes: Sequence[ClassInfo]
    resampling: Resampling

    def row(self, kind: Kind, by: str, name: str, key: str) -> Row:
        comparison = paired(self.second, self.first, self.metric, self.resampling, key=key, classes=self.classes)
        first, second = (_defined(self.metric, counts, self.classes).get(key) for counts in (self.first, self.second))
        return Row(kind, by, name, key, len(self.first), first, second, comparison)


def metric_of(key: str, counts: Counts, classes: Sequence[ClassInfo]) -> Metric:
    """The metric that has a figure of this key. Raises DataError, naming the nearest keys."""
    there: list[str] = []
    for metric in (catalog.get(word) for word in catalog.METRICS):
        if metric.counts != counts.kind or metric.headline is None:
            continue
        found = [metric.headline, *_defined(metric, counts, classes)]
        if key in found:
            return metric
        there += found
    raise DataError(f"There is no figure '{key[:80]}' to compare by. {hint(key, there)}")


def _defined(metric: Metric, counts: Counts, classes: Sequence[ClassInfo]) -> dict[str, float]:
    return figures(counts, [metric], classes)


def _by_chance(rows: Sequence[Row], level: float) -> tuple[str, ...]:
    """A word of warning where many are compared."""
    number = sum(row.comparison is not None for row in rows)
    chance = (1 - level) * number
    if chance < 1:
        return ()
    return (f"Of {number} comparisons at {100 * level:g} %, about {chance:.0f} would be shown by chance alone, were the models equal: look for a pattern.",)


def _told_apart(first: Scored, second: Scored) -> tuple[Scored, Scored]:
    """Two folders may have the same name."""
    if first.name != second.name:
        return first, second
    return replace(first, name=f"{first.name} (first)"), replace(second, name=f"{second.name} (second)")


def _row_to_json(row: Row, report: Report) -> dict[str, Any]:
    found = row.comparison
    return {
        "kind": row.kind,
        "by": row.by or None,
        "name": row.name,
        "key": row.key,
        "images": row.images,
        "first": row.first,
        "second": row.second,
        "difference": None if found is None else found.difference,
        "low": None if found is None else found.low,
        "high": None if found is None else found.high,
        "needed_images": None if found is None else found.needed_images,
        "shown": {1: "second", -1: "first", 0: None}[verdict.shown(found)],
        "verdict": verdict.brief(found, first=report.first, second=report.second),
    }
