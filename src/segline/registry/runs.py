"""Of which model an MLflow run is."""

from __future__ import annotations

from dataclasses import dataclass

from segline.errors import RegistryError
from segline.registry.client import asked
from segline.registry.version import Version, versions
from segline.tracking.address import shown
from segline.tracking.store import KEY_TAG


@dataclass(frozen=True)
class OfRun:
    """What the store says of one run."""

    name: str
    key: str | None  # of the model's plan; None for a run that Segline did not make
    version: Version | None  # the newest that was registered from it


def of_run(*, store: str, run_id: str) -> OfRun:
    """The model of a run. Raises RegistryError when the store has no such run."""
    with asked(store) as client:
        from mlflow.exceptions import MlflowException

        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise RegistryError(f"The tracking store {shown(store)} has no run {run_id}. `segline models` lists the registered versions.") from None
        names = {found.name for found in client.search_model_versions(f"run_id = '{run_id}'")}
    registered = [version for name in sorted(names) for version in versions(store=store, name=name) if version.run_id == run_id]
    return OfRun(str(run.info.run_name), run.data.tags.get(KEY_TAG), registered[0] if registered else None)
