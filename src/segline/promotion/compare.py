"""Candidate and incumbent by one figure, on the images of the scored split that neither has learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from segline import registry
from segline.errors import RegistryError
from segline.evaluation import gated
from segline.metrics import catalog
from segline.metrics.base import Counts, Metric
from segline.metrics.intervals import Resampling
from segline.metrics.paired import Comparison, paired
from segline.registry import Version
from segline_runtime.specification import ClassInfo


@dataclass(frozen=True)
class Contender:
    """A version, and what it counts on the scored split, or a sentence that says why nothing."""

    version: Version
    counts: Counts | str


@dataclass(frozen=True)
class Figures:
    """What decides. A sentence stands where there is no figure."""

    key: str  # of metrics.json
    candidate: float | str
    incumbent: float | str | None  # None: there is none
    comparison: Comparison | None  # candidate − incumbent; None where it cannot be told
    images: int  # that take part
    left_out: int  # that one of the two has learnt from
    notes: tuple[str, ...]  # sentences for people
    less_is_better: bool = False


def compare(candidate: Contender, incumbent: Contender | None, *, store: str, key: str, classes: Sequence[ClassInfo], margin: float, level: float) -> Figures:
    """`key`: of metrics.json; `margin`: see `segline.metrics.paired`; `level`: of the interval.

    Raises RegistryError for a key that the candidate has no figure of.
    """
    contenders = [candidate] if incumbent is None else [candidate, incumbent]
    seen, notes = _learnt_from(store, [contender.version for contender in contenders])
    metric, less = _metric(candidate, key, classes)
    parts = [_unseen(contender.counts, seen) for contender in contenders]
    values = [_figure(part, metric, key, classes) for part in parts]
    comparison = None
    ours, theirs = parts[0], parts[-1]
    if incumbent is not None and metric is not None and not isinstance(ours, str) and not isinstance(theirs, str):
        # Margin and the number of images are of the better minus the worse direction.
        first, second = (theirs, ours) if less else (ours, theirs)
        comparison = paired(first, second, metric, Resampling(level=level), key=key, classes=classes, margin=margin)
        if less and comparison is not None:
            comparison = replace(comparison, difference=-comparison.difference, low=-comparison.high, high=-comparison.low)
    images, scored = _numbers(parts), _numbers([contender.counts for contender in contenders])
    if images < scored:
        whom = "the version has" if incumbent is None else "one of the two versions has"
        notes.append(f"{scored - images} of {scored} images are left out: {whom} learnt from them.")
    return Figures(key, values[0], None if incumbent is None else values[1], comparison, images, scored - images, tuple(notes), less)


def _learnt_from(store: str, versions: Sequence[Version]) -> tuple[set[str], list[str]]:
    """Content hashes of the images that one of the versions has learnt from, and a sentence for each version of which they are not known."""
    seen: set[str] = set()
    notes = []
    for version in versions:
        try:
            images = registry.trained_on(store=store, version=version)
        except RegistryError as error:
            notes.append(str(error))
            continue
        if images is None:
            notes.append(f"Which images version {version.number} has learnt from was not kept with it, so none is left out on its account.")
        else:
            seen |= images
    return seen, notes


def _metric(candidate: Contender, key: str, classes: Sequence[ClassInfo]) -> tuple[Metric | None, bool]:
    """The metric that has a figure of this key, and whether less of it is better; None where nothing was counted."""
    if isinstance(candidate.counts, str):
        return None, False
    word = gated.word_of(key, candidate.version.task)
    if word is not None and key in catalog.get(word).figures(candidate.counts, classes):
        return catalog.get(word), word in catalog.LESS_IS_BETTER
    there: list[str] = []
    for metric in map(catalog.get, catalog.METRICS):
        if metric.counts == candidate.counts.kind:
            there += metric.figures(candidate.counts, classes)
    model = candidate.version.name.partition("-")[2]
    raise RegistryError(f"There is no figure '{key}' to decide by; there are {', '.join(there)}. Correct promote.{model}.metric.")


def _unseen(counts: Counts | str, seen: set[str]) -> Counts | str:
    if isinstance(counts, str):
        return counts
    unseen = [i for i, image in enumerate(counts.hashes) if image not in seen]
    return counts.select(unseen) if unseen else "every scored image is one that was learnt from"


def _figure(counts: Counts | str, metric: Metric | None, key: str, classes: Sequence[ClassInfo]) -> float | str:
    if isinstance(counts, str) or metric is None:
        return counts if isinstance(counts, str) else "nothing to compare it with"
    return metric.figures(counts, classes).get(key, f"there is no {key} on these images")


def _numbers(parts: Sequence[Counts | str]) -> int:
    return max(0 if isinstance(part, str) else len(part) for part in parts)
