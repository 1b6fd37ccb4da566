"""What is stored with a version, and comes back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segline import written
from segline.errors import RegistryError
from segline.provenance import file_digest
from segline.registry.client import asked
from segline.registry.version import Version

TRAINED_ON = 1
"""Version of trained_on.json that is read."""


@contextmanager
def onnx_file(*, store: str, version: Version) -> Iterator[Path]:
    """A copy of the version's model.onnx, for as long as the block lasts. Raises RegistryError when it is gone or not what was registered."""
    with tempfile.TemporaryDirectory(prefix="segline-model-") as folder:
        file, source = _download(store, version, "model.onnx", Path(folder))
        if version.digest is not None and file_digest(file) != version.digest:
            raise RegistryError(f"The stored model.onnx of {version.name} version {version.number} is not the one that was registered: {source} was changed.")
        yield file


def trained_on(*, store: str, version: Version) -> frozenset[str] | None:
    """Content hashes of the images that the version learnt from or was steered by; None where they were not kept. Raises RegistryError as `onnx_file`."""
    if version.trained_on is None:
        return None
    with tempfile.TemporaryDirectory(prefix="segline-model-") as folder:
        file, source = _download(store, version, "trained_on.json", Path(folder))
        with written.reading(file, RegistryError, "register its model again with `segline sync`"):
            values = written.mapping(file)
            if written.version_of(values) > TRAINED_ON:
                raise RegistryError(
                    f"{source} has a trained_on.json of a later Segline (version {values['version']}, this one reads {TRAINED_ON}); update Segline."
                )
            if not isinstance(values["images"], list):
                raise TypeError("its images are no list")
            return frozenset(values["images"])


def _download(store: str, version: Version, name: str, folder: Path) -> tuple[Path, str]:
    """A copy of one stored file in `folder`, and where it came from."""
    with asked(store) as client:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        source = str(client.get_model_version_download_uri(version.name, str(version.number)))
        try:
            return Path(download_artifacts(artifact_uri=f"{source}/artifacts/{name}", dst_path=str(folder), tracking_uri=store)), source
        except OSError as error:
            raise RegistryError(_no_content(version, source, error)) from None
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
                raise
            raise RegistryError(_no_content(version, source, error)) from None


def _no_content(version: Version, source: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[-1].rstrip(".")
    return (
        f"The files of {version.name} version {version.number} are not at {source} ({reason}). "
        "Restore that folder, or delete the version in the MLflow UI and register its model again with `segline sync`."
    )
