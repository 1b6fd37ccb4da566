"""`segline models`: what the registry holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from segline.cli.console import console
from segline.cli.surroundings import registered_name, tracking_store

if TYPE_CHECKING:
    from segline.registry import Version

_SHOWN_METRICS = 3


def models(name: Annotated[str | None, typer.Argument(help="Only this one.")] = None) -> None:
    """All versions in the registry: aliases, metrics, parity, latency, date."""
    from rich.table import Table

    from segline import registry
    from segline.tracking.address import shown
    from segline.tracking.quick import quick

    store = tracking_store()
    table = Table("model", "version", "aliases", "metrics", "parity", "latency", "registered")
    with quick():
        if name is None:
            chosen = registry.names(store=store)
        else:
            chosen = [registered_name(name)]
            registry.require(store=store, name=chosen[0])
        for registered in chosen:
            for version in registry.versions(store=store, name=registered):
                table.add_row(registered, *_cells(version))
    if not chosen:
        print("The registry is empty. Run `dvc repro`, whose last stage registers each model.")
        return
    print(shown(store))
    console().print(table)


def _cells(version: Version) -> tuple[str, ...]:
    figures = [f"{key} {value:.4f}" for key, value in version.metrics.items()]
    return (
        str(version.number),
        ", ".join(version.aliases),
        "  ".join(figures[:_SHOWN_METRICS]),
        "passed" if version.parity else "not proved",
        "" if version.latency_ms is None else f"{version.latency_ms:.1f} ms",
        version.created.astimezone().strftime("%Y-%m-%d %H:%M"),
    )
