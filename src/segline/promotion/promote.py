"""A version gets an alias when all gates hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segline import registry
from segline.data.store import PreparedDataset
from segline.errors import RegistryError
from segline.evaluation import gated
from segline.promotion.checks import LEVEL, Check, checks
from segline.promotion.compare import Contender, Figures, compare
from segline.promotion.gates import Gates
from segline.promotion.history import Target, move
from segline.promotion.measure import candidate_counts, incumbent_counts
from segline.registry import CANDIDATE, PRODUCTION, STAGING, Version
from segline.tasks import catalog as tasks

SOURCES: dict[str, str] = {STAGING: CANDIDATE, PRODUCTION: STAGING}
"""Whose version is taken for each target, unless a number is given."""

_LONGEST_REASON = 1000  # a tag holds 5000 characters


@dataclass(frozen=True)
class Outcome:
    """What a promotion did. `moved` is False when a gate failed or the version held the alias already."""

    version: Version
    alias: str
    replaced: Version | None
    checks: tuple[Check, ...]
    moved: bool
    forced: bool
    figures: Figures | None = None  # None when the version held the alias already

    @property
    def already(self) -> bool:
        return self.replaced is not None and self.replaced.number == self.version.number

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    @property
    def left_out(self) -> int:
        """Scored images that took no part, as one of the two versions has learnt from them."""
        return 0 if self.figures is None else self.figures.left_out

    @property
    def notes(self) -> tuple[str, ...]:
        """What else is to be told, in sentences."""
        return () if self.figures is None else self.figures.notes


def promote(
    *,
    store: str,
    name: str,
    to: Target,
    dataset: PreparedDataset,
    gates: Gates,
    metrics: Sequence[str] | None = None,
    counts: Path | None = None,
    number: int | None = None,
    force: bool = False,
    reason: str | None = None,
    progress: bool = False,
) -> Outcome:
    """Give a version the alias `to` when all `gates` hold, or by `force` with a `reason`.

    The version is the candidate for staging and the staged one for production, or `number`. It and the version it would replace are run on the scored
    split of `dataset`, at the original size, so that both figures are of the same images; those that either has learnt from take no part. What was
    counted is kept in the folder `counts`, by content, and not computed again. The figure decides, and the interval of the difference is told beside it;
    with `gates.confidence` the whole interval must be on the right side of what is allowed. Parity must have passed.

    metrics: words of those that `evaluate.metrics` asks for, default the task's own; what is counted on request decides where it is among them.
    Raises RegistryError when there is no such version, when `force` lacks a reason, or for a metric that is unknown or was not asked for.
    """
    if force and not (reason or "").strip():
        raise RegistryError('--force needs --reason "…": why these gates do not count is recorded with the version.')
    if reason and len(reason) > _LONGEST_REASON:
        raise RegistryError(f"--reason is {len(reason)} characters long; {_LONGEST_REASON} are kept.")
    if reason and not force:
        raise RegistryError("--reason is recorded with --force; without it the gates decide.")
    version = registry.find(store=store, name=name, alias=SOURCES[to] if number is None else None, number=number)
    incumbent = registry.holder(store=store, name=name, alias=to)
    if incumbent is not None and incumbent.number == version.number:
        return Outcome(version, to, incumbent, (), moved=False, forced=False)
    task = tasks.get(version.task)
    key = gates.metric or task.metric
    unfit = list(gated.problems(gates, task.name, task.metrics if metrics is None else metrics))
    if unfit:
        raise RegistryError(*(f"promote.{name.partition('-')[2]}.{problem}" for problem in unfit))
    details = gated.details(key, task.name)
    candidate = Contender(version, candidate_counts(store, version, dataset, counts, details=details, progress=progress))
    earlier = None
    if incumbent is not None:
        earlier = Contender(incumbent, incumbent_counts(store, incumbent, dataset, counts, details=details, progress=progress))
    level = LEVEL if gates.confidence is None else gates.confidence
    figures = compare(candidate, earlier, store=store, key=key, classes=dataset.info.classes, margin=gates.not_worse_by, level=level)
    answers = tuple(checks(version, incumbent, figures, gates))
    passed = all(check.passed for check in answers)
    if passed or force:
        record = _record(figures, answers, dataset, level)
        move(store, version, to, "promote", incumbent, {**record, "forced": not passed, "reason": reason})
    return Outcome(version, to, incumbent, answers, passed or force, force and not passed, figures)


def _record(figures: Figures, answers: tuple[Check, ...], dataset: PreparedDataset, level: float) -> dict[str, Any]:
    """What is written down with the version."""
    split, comparison = dataset.info.scored, figures.comparison
    return {
        "metric": figures.key,
        "value": _number(figures.candidate),
        "replaced_value": _number(figures.incumbent),
        "difference": None if comparison is None else {"value": comparison.difference, "low": comparison.low, "high": comparison.high, "level": level},
        "split": split,
        "split_hash": dataset.info.split_hashes[split],
        "images": figures.images,
        "left_out": figures.left_out,
        "failed": [check.gate for check in answers if not check.passed],
    }


def _number(value: float | str | None) -> float | None:
    return value if isinstance(value, float) else None
