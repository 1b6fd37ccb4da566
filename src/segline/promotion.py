"""Who may follow whom: gates before `staging` and `production`, the history of both, and the way back.

MLflow forgets who held an alias before. Each move is therefore written to the version that received the alias, in a tag
`segline.<alias>.<number>` that holds JSON: event, replaced, at, by, figures, forced, reason.
"""

from __future__ import annotations

import getpass
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from segline import registry
from segline.data.store import PreparedDataset
from segline.errors import DataError, RegistryError
from segline.evaluation.evaluate import evaluate
from segline.inference.predict import load_predictor
from segline.registry import CANDIDATE, PRODUCTION, STAGING, Version
from segline.tasks import registry as tasks

Target = Literal["staging", "production"]
TARGETS: tuple[Target, ...] = ("staging", "production")
SOURCES: dict[str, str] = {STAGING: CANDIDATE, PRODUCTION: STAGING}
"""Whose version is taken for each target, unless a number is given."""

_ROUNDING = 1e-9
_LONGEST_REASON = 1000  # a tag holds 5000 characters


@dataclass(frozen=True)
class Check:
    """One gate: what was asked, and the figure that answered."""

    gate: str
    wanted: str
    found: str
    passed: bool


@dataclass(frozen=True)
class Outcome:
    """What a promotion did. `moved` is False when a gate failed or the version held the alias already."""

    version: Version
    alias: str
    replaced: Version | None
    checks: tuple[Check, ...]
    moved: bool
    forced: bool

    @property
    def already(self) -> bool:
        return self.replaced is not None and self.replaced.number == self.version.number

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)


def promote(
    *,
    store: str,
    name: str,
    to: Target,
    dataset: PreparedDataset,
    number: int | None = None,
    metric: str | None = None,
    at_least: float | None = None,
    not_worse_by: float = 0.0,
    latency_ms: float | None = None,
    force: bool = False,
    reason: str | None = None,
    progress: bool = False,
) -> Outcome:
    """Give a version the alias `to` when all gates hold, or by `force` with a `reason`.

    The version is the candidate for staging and the staged one for production, or `number`. It and the version it would replace are run now on the scored
    split of `dataset`, at the original size, so that both figures are of the same images. `metric` is a key of metrics.json (default: the task's own);
    `at_least`: the figure it must reach; `not_worse_by`: how far it may stay below the version it replaces; `latency_ms`: the most that export may have
    measured, median per image. Parity must have passed.

    Raises RegistryError when there is no such version, when `force` lacks a reason, or for an unknown metric.
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
    key = metric or tasks.get(_task(version)).metric
    candidate = _measure(store, version, dataset, key, progress)
    earlier = None if incumbent is None else _measure_incumbent(store, incumbent, dataset, key, progress)
    checks = tuple(_checks(version, incumbent, candidate, earlier, key, at_least, not_worse_by, latency_ms))
    forced = force and not all(check.passed for check in checks)
    moved = forced or all(check.passed for check in checks)
    if moved:
        split = dataset.info.scored
        figures = {
            "metric": key,
            "value": _number(candidate),
            "replaced_value": _number(earlier),
            "split": split,
            "split_hash": dataset.info.split_hashes[split],
            "failed": [check.gate for check in checks if not check.passed],
        }
        _move(store, version, to, "promote", incumbent, {**figures, "forced": forced, "reason": reason})
    return Outcome(version, to, incumbent, checks, moved, forced)


def rollback(*, store: str, name: str, alias: Target, reason: str | None = None) -> tuple[Version, Version]:
    """Give the alias back to the version that held it before; done again, to the one before that. Returns (who loses it, who has it again).

    Raises RegistryError when nobody holds the alias or nobody held it before.
    """
    there = registry.require(store=store, name=name)
    current = next((version for version in there if alias in version.aliases), None)
    if current is None:
        raise RegistryError(f"No version of '{name}' holds '{alias}', so there is nothing to roll back; `segline promote {name} --to {alias}` sets it.")
    by_number = {version.number: version for version in there}
    before = [number for number in _settled(_holders(there, alias), current.number)[:-1] if number in by_number and number != current.number]
    if not before:
        raise RegistryError(
            f"{name} version {current.number} is the first that is known to hold '{alias}'; there is none to go back to. "
            f"`segline models {name}` shows all versions, `segline promote {name} --to {alias} --version N` takes one of them."
        )
    previous = by_number[before[-1]]
    _move(store, previous, alias, "rollback", current, {"reason": reason})
    return current, previous


@dataclass(frozen=True)
class Event:
    """One recorded move of an alias to a version."""

    order: int
    event: Literal["promote", "rollback"]
    to: int
    replaced: int | None
    record: Mapping[str, Any]


def history(versions: list[Version], alias: str) -> list[Event]:
    """What the tags tell of an alias, oldest first."""
    events = []
    for version in versions:
        for key, value in version.tags.items():
            if match := re.fullmatch(rf"segline\.{alias}\.(\d+)", key):
                record = json.loads(value)
                events.append(Event(int(match[1]), record["event"], version.number, record["replaced"], record))
    return sorted(events, key=lambda event: event.order)


def _holders(versions: list[Version], alias: str) -> list[int]:
    """The versions that one rollback after another would give the alias to, the latest last."""
    stack: list[int] = []
    for event in history(versions, alias):
        stack = _settled(stack, event.replaced)
        if event.event == "promote":
            stack.append(event.to)
        else:
            stack = _settled(stack[:-1], event.to)
    return stack


def _settled(stack: list[int], holder: int | None) -> list[int]:
    """The stack with `holder` on top: aliases are also moved by hand, and a move may be cut off after its record."""
    if holder is None:
        return stack
    if holder in stack:
        return stack[: len(stack) - stack[::-1].index(holder)]
    return [*stack, holder]


def _move(store: str, version: Version, alias: str, event: str, replaced: Version | None, record: Mapping[str, Any]) -> None:
    there = registry.versions(store=store, name=version.name)
    order = 1 + max((e.order for e in history(there, alias)), default=0)
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"event": event, "replaced": None if replaced is None else replaced.number, "at": moment, "by": getpass.getuser(), **record}
    registry.move(store=store, version=version, alias=alias, tags={f"segline.{alias}.{order:04d}": json.dumps(content)})


def _task(version: Version) -> str:
    task = version.tags.get("segline.task")
    if task is None:
        raise RegistryError(
            f"{version.name} version {version.number} was not registered by Segline, so its gates are unknown. Choose another with --version N."
        )
    return task


def _measure(store: str, version: Version, dataset: PreparedDataset, metric: str, progress: bool) -> float | str:
    """The metric of a version's ONNX model on the scored split, or a sentence that says why it cannot be measured there."""
    with registry.onnx_file(store=store, version=version) as file:
        predictor = load_predictor(file)
        specification = predictor.specification
        theirs, ours = ([c.name for c in classes] for classes in (specification.classes, dataset.info.classes))
        if theirs != ours:
            return f"version {version.number} knows the classes {', '.join(theirs)}; the data in {dataset.folder} has {', '.join(ours)}"
        task = tasks.get(specification.task)
        try:
            dataset.require(task.truth, specification.model)
        except DataError as error:
            return str(error)
        metrics = evaluate(predictor.predict, dataset.split(dataset.info.scored), task.scorer(specification.classes), progress=progress).metrics
    if metric not in metrics:
        raise RegistryError(f"There is no metric '{metric}' to decide by; there are {', '.join(metrics)}. Correct promote.{specification.model}.metric.")
    return float(metrics[metric])


def _measure_incumbent(store: str, version: Version, dataset: PreparedDataset, metric: str, progress: bool) -> float | str:
    """As `_measure`; an incumbent whose files are gone must not stand in the way of `--force`."""
    try:
        return _measure(store, version, dataset, metric, progress)
    except RegistryError as error:
        return str(error)


def _checks(
    version: Version,
    incumbent: Version | None,
    candidate: float | str,
    earlier: float | str | None,
    metric: str,
    at_least: float | None,
    not_worse_by: float,
    latency_ms: float | None,
) -> list[Check]:
    checks = [Check("parity", "passed", "passed" if version.parity else "not proved", version.parity)]
    if at_least is not None:
        checks.append(Check(f"{metric} at least", f"{at_least:g}", _figure(candidate), isinstance(candidate, float) and candidate >= at_least - _ROUNDING))
    if incumbent is not None and earlier is not None:
        wanted = f"{earlier - not_worse_by:.4f} (version {incumbent.number}: {earlier:.4f} − {not_worse_by:g})" if isinstance(earlier, float) else earlier
        good = isinstance(candidate, float) and isinstance(earlier, float) and (math.isnan(earlier) or candidate >= earlier - not_worse_by - _ROUNDING)
        checks.append(Check(f"{metric} not worse", wanted, _figure(candidate), good))
    elif isinstance(candidate, str):
        checks.append(Check(f"{metric} measured", "a figure on the current data", candidate, False))
    if latency_ms is not None:
        measured = version.latency_ms
        found = "not measured" if measured is None else f"{measured:.1f} ms"
        checks.append(Check("latency at most", f"{latency_ms:g} ms", found, measured is not None and measured <= latency_ms))
    return checks


def _number(value: float | str | None) -> float | None:
    return value if isinstance(value, float) and math.isfinite(value) else None


def _figure(value: float | str) -> str:
    return f"{value:.4f}" if isinstance(value, float) else value
