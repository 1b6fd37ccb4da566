"""`segline promote`, `segline rollback`: who holds `staging` and `production`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from segline.cli.console import REFUSED, console, progress_wanted
from segline.cli.surroundings import checkout, registered_name, settings, tracking_store
from segline.provenance import file_digest

if TYPE_CHECKING:
    from segline.layout import ModelFolder
    from segline.promotion.promote import Outcome


class Target(StrEnum):
    """Aliases that are given by promotion."""

    staging = "staging"
    production = "production"


Name = Annotated[str, typer.Argument(help="A model of params.yaml, or a registered name (<dataset>-<model>).")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; recorded with the version.")]


def promote(
    name: Name,
    to: Annotated[Target, typer.Option("--to", help="staging takes the candidate, production the staged version.")],
    version: Annotated[int | None, typer.Option("--version", min=1, help="Take this version instead.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote though a gate fails; needs --reason.")] = False,
    reason: Reason = None,
) -> None:
    """Move an alias when the gates of params.yaml (promote.<model>) hold; else say which failed, and exit 1."""
    from segline.data.store import PreparedDataset
    from segline.evaluation import gated
    from segline.promotion import promote as promotion

    here = checkout()
    registered = registered_name(name)
    stranger = _stranger(registered, here.model(registered.partition("-")[2])) if version is None and to is Target.staging else None
    asked = settings(here)
    outcome = promotion.promote(
        store=tracking_store(),
        name=registered,
        to=to.value,
        dataset=PreparedDataset(here.prepared),
        gates=asked.gates(registered.partition("-")[2]),
        metrics=gated.asked(asked.evaluate.metrics, [entry.task for entry in asked.models.values()]),
        counts=here.counts,
        number=version,
        force=force,
        reason=reason,
        progress=progress_wanted(),
    )
    _tell(outcome)
    if stranger:
        print(stranger)
    if outcome.failed and not outcome.forced:
        raise typer.Exit(REFUSED)


def rollback(
    name: Name,
    alias: Annotated[Target, typer.Option("--from", help="The alias that is taken back.")],
    reason: Reason = None,
) -> None:
    """Give an alias back to the version that held it before; done again, to the one before that."""
    from segline.promotion import history

    registered = registered_name(name)
    current, previous = history.rollback(store=tracking_store(), name=registered, alias=alias.value, reason=reason)
    print(f"{registered}: '{alias.value}' goes back from version {current.number} to version {previous.number}.")


def _tell(outcome: Outcome) -> None:
    version = f"{outcome.version.name} version {outcome.version.number}"
    if outcome.already:
        print(f"{version} holds '{outcome.alias}' already; nothing was changed.")
        return
    print(f"{version} → {outcome.alias}")
    _show_gates(outcome)
    for note in outcome.notes:
        print(note)
    failed = "; ".join(f"{check.gate}: wanted {check.wanted}, found {check.found}" for check in outcome.failed)
    if not outcome.moved:
        print(f"Not promoted, nothing was changed. {failed}.", file=sys.stderr)
        return
    instead = "" if outcome.replaced is None else f" in place of version {outcome.replaced.number}"
    though = f" Forced, though {failed}." if outcome.forced else ""
    print(f"{version} is {outcome.alias} now{instead}.{though}")


def _stranger(name: str, folder: ModelFolder) -> str | None:
    """What to say when the candidate is not what the workspace holds. Asked before anything is changed, as it can fail."""
    from segline import registry

    if not (folder.card.is_file() and folder.onnx.is_file()):
        return None
    candidate = registry.holder(store=tracking_store(), name=name, alias=registry.CANDIDATE)
    if candidate is None or file_digest(folder.onnx) == candidate.digest:
        return None
    held = registry.with_content(store=tracking_store(), folder=folder)
    if held is not None and held.name != candidate.name:
        return None
    number = "not registered" if held is None else f"version {held.number}"
    return (
        f"The candidate, version {candidate.number}, is not the model of this workspace, which is {number}; "
        f"`dvc repro -f -s register@{folder.name}` makes that the candidate."
    )


def _show_gates(outcome: Outcome) -> None:
    from rich.table import Table

    table = Table("gate", "wanted", "found", "")
    for check in outcome.checks:
        table.add_row(check.gate, check.wanted, check.found, "holds" if check.passed else "FAILS")
    console().print(table)
