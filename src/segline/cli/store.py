"""`segline store`: where the logbook and the registry are."""

from __future__ import annotations

from segline.cli.surroundings import tracking_store


def store() -> None:
    """Print the address of the tracking store, for MLflow's own commands."""
    print(tracking_store())
