"""`segline status`, `segline sync`: whether model folders, tracking store and registry agree, and bringing them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from segline.cli.console import REFUSED, console, counted
from segline.cli.surroundings import checkout, tracking_store

if TYPE_CHECKING:
    from segline.status import Finding


def status() -> None:
    """Compare the model folders with the tracking store and the registry; exit 1 when something is off, with the remedy."""
    from rich.table import Table

    from segline import status as comparison
    from segline.tracking.address import shown
    from segline.tracking.quick import quick

    store = tracking_store()
    folders = comparison.model_folders(checkout().models)
    if not folders:
        print("There is no trained model yet; run `dvc repro`.")
        return
    with quick():
        findings = comparison.compare(store=store, folders=folders)
    print(shown(store))
    table = Table("model", "registered as", "version", "candidate", "state", "remedy")
    for found in findings:
        table.add_row(*_cells(found))
    console().print(table)
    if any(found.problems for found in findings):
        raise typer.Exit(REFUSED)


def sync() -> None:
    """Rebuild the runs and registrations that the tracking store lacks from the model folders."""
    from segline import registry, tracking
    from segline.status import model_folders
    from segline.tracking.address import shown

    models = checkout().models
    store = tracking_store()
    folders = model_folders(models)
    for recorded in tracking.sync(store, models):
        print(recorded)
    for receipt in registry.fill(store=store, folders=folders):
        print(f"{receipt.name} version {receipt.version} is registered, and candidate.")
    print(f"{counted(len(folders), 'model folder')} compared with {shown(store)}.")


def _cells(found: Finding) -> tuple[str, ...]:
    """One line of the last two columns per problem."""
    states = [problem for problem, _ in found.problems] or ["in order"]
    remedies = [remedy for _, remedy in found.problems]
    return found.model, found.name or "", str(found.version or ""), str(found.candidate or ""), "\n".join(states), "\n".join(remedies)
