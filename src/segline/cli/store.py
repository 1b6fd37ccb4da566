"""`segline store`: where the logbook and the registry are."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated

import typer

from segline.cli.surroundings import tracking_store
from segline.errors import TrackingError

_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_BACKEND_STORE_URI")
"""Where MLflow's commands look for the store that they use or serve."""


def store(command: Annotated[list[str] | None, typer.Argument(help="Run this instead, with the whole address in MLflow's variables.")] = None) -> None:
    """Print the address of the tracking store, without passwords; or run one of MLflow's commands on it: `segline store -- mlflow gc`."""
    from segline.tracking.address import shown

    address = tracking_store()
    if command:
        surroundings = os.environ | dict.fromkeys(_VARIABLES, address)
        try:
            if os.name == "posix":  # in place of this process, so that signals reach it
                os.execvpe(command[0], command, surroundings)
            done = subprocess.run(command, env=surroundings, check=False)
        except OSError as error:
            raise TrackingError(f"The command '{command[0]}' cannot be run ({error.strerror}).") from None
        raise typer.Exit(done.returncode)
    print(shown(address))
    if shown(address) != address:
        print("What may be secret is left out. `segline store -- COMMAND` runs one of MLflow's commands with the whole address.", file=sys.stderr)
