"""The warehouse: registered models in MLflow, their versions, aliases and tags. Rules about who may be promoted stand in `segline.promotion`.

MLflow is imported inside functions, as in `segline.tracking`.

A version is found by its content (`segline.digest`, the hash of its model.onnx), so registering the same model twice makes one version.
What a version is worth stands in its tags (`Version` reads them), so that a table needs one question to the server and no run.
"""

from __future__ import annotations

import base64
import difflib
import io
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

import segline_runtime
from segline import tracking
from segline.card import ModelCard
from segline.errors import ModelError, RegistryError
from segline.layout import ModelFolder
from segline.provenance import file_digest
from segline.tracking.store import load_mlflow, shown, told

if TYPE_CHECKING:
    from mlflow import MlflowClient

CANDIDATE, STAGING, PRODUCTION = "candidate", "staging", "production"
ALIASES = (CANDIDATE, STAGING, PRODUCTION)

REQUIREMENTS = ("mlflow", "onnxruntime", "numpy", "pillow")
"""All that a registered model needs, pinned to the versions it was registered with."""

_RUNTIME = Path(segline_runtime.__file__).parent
_URI = re.compile(r"models:/+(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class Receipt:
    """`registered.json`: where the registry holds a model folder's content."""

    name: str
    version: int
    digest: str
    run_id: str
    store: str  # without credentials

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, file: Path) -> Receipt | None:
        """None where there is none. Raises ModelError when it cannot be read."""
        try:
            return cls(**json.loads(file.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ModelError(f"{file} cannot be read ({error}); run `dvc repro -f -s register@{file.parent.name}` to write it anew.") from None


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as the registry describes it."""

    name: str
    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    created: datetime
    run_id: str | None

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.number}"

    @property
    def digest(self) -> str | None:
        """sha256 of its model.onnx; None for a version that Segline did not make."""
        return self.tags.get("segline.digest")

    @property
    def split_hash(self) -> str | None:
        """Of the images and the truth that `metrics` were measured on."""
        return self.tags.get("segline.split_hash")

    @property
    def metrics(self) -> dict[str, float]:
        """Its figures when it was registered, the main ones first, without those of single classes."""
        figures: dict[str, float] = json.loads(self.tags.get("segline.metrics", "{}"))
        return figures

    @property
    def parity(self) -> bool:
        """Whether its ONNX model was proved equal to the trained one."""
        return self.tags.get("segline.parity") == "passed"

    @property
    def latency_ms(self) -> float | None:
        """Median per image, as measured by export."""
        value = self.tags.get("segline.latency_ms")
        return None if value is None else float(value)


def register(*, store: str, folder: ModelFolder) -> Receipt:
    """Make the model folder's ONNX model the `candidate` of `<dataset>-<model>`: a version that has this content already, or a new one.

    Its run is looked up by key, or rebuilt from the folder. An upload that was cut off is never taken for a version.
    Raises ModelError when the folder is not complete, RegistryError when parity did not pass, TrackingError when the store does not answer.
    """
    card = ModelCard.read(folder.card)
    metrics, parity = _read(folder.metrics, "evaluate"), _read(folder.parity, "export")
    if not folder.onnx.is_file():
        raise ModelError(f"{folder.path} holds no {folder.onnx.name}; run `dvc repro export@{folder.name}` first.")
    if parity.get("passed") is not True:
        raise RegistryError(
            f"{folder.parity} says that the ONNX model of '{folder.name}' is not proved equal to the trained one, so it is not registered. "
            f"Run `dvc repro -f export@{folder.name}` and see what it says."
        )
    digest = file_digest(folder.onnx)
    if parity.get("sha256") != digest:
        raise RegistryError(f"{folder.parity} proves another file than {folder.onnx}. Run `dvc repro -f export@{folder.name}`, which writes both.")
    run_id = tracking.record(store=store, folder=folder, strict=True)
    name = card.registered_name
    with _asked(store) as client:
        number = next((v.number for v in versions(store=store, name=name) if v.digest == digest), None)
        if number is None:
            model_id = _upload(client, run_id, card, folder, digest)
            number = _create_version(client, name, model_id, run_id, _tags(card, digest, metrics, parity))
        client.set_registered_model_alias(name, CANDIDATE, str(number))
    return Receipt(name, number, digest, run_id, shown(store))


def fill(*, store: str, folders: Sequence[ModelFolder]) -> list[Receipt]:
    """Register each exported model whose content the registry lacks, as it does when it is new or was emptied."""
    lacking = [folder for folder in folders if folder.onnx.is_file() and with_content(store=store, folder=folder) is None]
    return [register(store=store, folder=folder) for folder in lacking]


def with_content(*, store: str, folder: ModelFolder) -> Version | None:
    """The version that holds the folder's model.onnx, if any."""
    digest = file_digest(folder.onnx)
    name = ModelCard.read(folder.card).registered_name
    return next((version for version in versions(store=store, name=name) if version.digest == digest), None)


def names(*, store: str) -> list[str]:
    """All registered models."""
    with _asked(store) as client:
        return sorted(_all_names(client))


def versions(*, store: str, name: str) -> list[Version]:
    """The versions of one model, newest first; none where there is no such model."""
    with _asked(store) as client:
        from mlflow.exceptions import MlflowException

        try:
            aliases: dict[str, str] = client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return []
            raise
        found: list[Any] = []
        page = None
        while page != "":
            answer = client.search_model_versions(f"name = '{name}'", page_token=page)
            found += answer
            page = answer.token or ""
    numbered = [
        Version(
            name,
            int(v.version),
            tuple(sorted((a for a, held in aliases.items() if int(held) == int(v.version)), key=_alias_order)),
            dict(v.tags),
            datetime.fromtimestamp(v.creation_timestamp / 1000, UTC),
            v.run_id or None,
        )
        for v in found
    ]
    return sorted(numbered, key=lambda v: -v.number)


def require(*, store: str, name: str) -> list[Version]:
    """As `versions`, at least one. Raises RegistryError, naming the models there are."""
    there = versions(store=store, name=name)
    if not there:
        raise RegistryError(_no_model(name, names(store=store), store))
    return there


def find(*, store: str, name: str, alias: str | None = None, number: int | None = None) -> Version:
    """The version that holds an alias, or that has a number. Raises RegistryError, naming what there is."""
    assert (alias is None) != (number is None), "one of alias and number"
    there = require(store=store, name=name)
    for version in there:
        if alias in version.aliases or version.number == number:
            return version
    held = ", ".join(f"version {v.number}" + (f" ({', '.join(v.aliases)})" if v.aliases else "") for v in there)
    wanted = f"version {number}" if alias is None else f"version with the alias '{alias}'"
    raise RegistryError(f"The registered model '{name}' has no {wanted}; it has {held}.")


def holder(*, store: str, name: str, alias: str) -> Version | None:
    """The version that holds an alias, if any."""
    return next((v for v in versions(store=store, name=name) if alias in v.aliases), None)


def resolve(*, store: str, uri: str) -> Version:
    """The version that `models:/<name>@<alias>` or `models:/<name>/<number>` means. Raises RegistryError."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise RegistryError(f"'{uri}' is no address of a registered model; write models:/<name>@<alias> or models:/<name>/<version>.")
    number = match["version"]
    return find(store=store, name=match["name"], alias=match["alias"], number=None if number is None else int(number))


@contextmanager
def onnx_file(*, store: str, version: Version) -> Iterator[Path]:
    """A copy of the version's model.onnx, for as long as the block lasts. Raises RegistryError when it is gone or not what was registered."""
    with tempfile.TemporaryDirectory(prefix="segline-model-") as folder:
        with _asked(store) as client:
            from mlflow.artifacts import download_artifacts
            from mlflow.exceptions import MlflowException

            source = client.get_model_version_download_uri(version.name, str(version.number))
            try:
                file = Path(download_artifacts(artifact_uri=f"{source}/artifacts/model.onnx", dst_path=folder, tracking_uri=store))
            except OSError as error:
                raise RegistryError(_no_content(version, source, error)) from None
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
                    raise
                raise RegistryError(_no_content(version, source, error)) from None
        if version.digest is not None and file_digest(file) != version.digest:
            raise RegistryError(f"The stored model.onnx of {version.name} version {version.number} is not the one that was registered: {source} was changed.")
        yield file


def move(*, store: str, version: Version, alias: str, tags: Mapping[str, str]) -> None:
    """Write the tags to a version, then give it the alias; cut off between the two, the alias has not moved and the tags tell of the attempt."""
    with _asked(store) as client:
        for key, value in tags.items():
            client.set_model_version_tag(version.name, str(version.number), key, value)
        client.set_registered_model_alias(version.name, alias, str(version.number))


@contextmanager
def _asked(store: str) -> Iterator[MlflowClient]:
    """A client of the store; what goes wrong between here and there becomes a TrackingError."""
    load_mlflow()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for each of a dozen small files
    with told(store):
        yield tracking.connect(store)


def _read(file: Path, stage: str) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text())
    except FileNotFoundError:
        raise ModelError(f"{file.parent} holds no {file.name}; run `dvc repro {stage}@{file.parent.name}` first.") from None
    except ValueError as error:
        raise ModelError(f"{file} cannot be read ({error}); run `dvc repro -f -s {stage}@{file.parent.name}` to write it anew.") from None
    assert isinstance(values, dict), f"{file} holds no mapping"
    return values


def _tags(card: ModelCard, digest: str, metrics: Mapping[str, Any], parity: Mapping[str, Any]) -> dict[str, str]:
    figures = {key: round(value, 6) for key, value in metrics.items() if isinstance(value, float) and "/" not in key}
    return {
        "segline.digest": digest,
        "segline.key": card.provenance.key,
        "segline.task": card.task,
        "segline.split": str(parity["split"]),
        "segline.split_hash": str(parity["split_hash"]),
        "segline.parity": "passed",
        "segline.latency_ms": f"{parity['latency']['median_ms']:.6g}",
        "segline.commit": card.commit or "none",
        "segline.metrics": json.dumps(figures),
    }


def _upload(client: MlflowClient, run_id: str, card: ModelCard, folder: ModelFolder, digest: str) -> str:
    """The id of the run's logged model with this content, uploaded whole; half-uploaded ones are removed."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    experiment = client.get_run(run_id).info.experiment_id
    for earlier in client.search_logged_models([experiment], filter_string=f"tags.`segline.digest` = '{digest}'"):
        if earlier.source_run_id != run_id:
            continue
        if earlier.status == LoggedModelStatus.READY:
            return str(earlier.model_id)
        client.delete_logged_model(earlier.model_id)
    logged = client.create_logged_model(experiment, name=card.registered_name, source_run_id=run_id, tags={"segline.digest": digest}, model_type=card.task)
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    with tempfile.TemporaryDirectory(prefix="segline-register-") as temporary:
        local = Path(temporary) / "model"
        save(file=folder.onnx, target=local, run_id=run_id, model_id=logged.model_id)
        client.log_model_artifacts(logged.model_id, str(local))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    return str(logged.model_id)


def save(*, file: Path, target: Path, run_id: str | None = None, model_id: str | None = None) -> None:
    """Write an ONNX file as an MLflow model folder: the pyfunc of `segline_runtime.pyfunc` with the package it needs, and nothing of Segline."""
    load_mlflow()
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType, Array

    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)
    answer: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "task"),
        ColSpec(Array(DataType.long), "size"),
        ColSpec(DataType.string, "mask", required=False),
    ]
    answer += [ColSpec(AnyType(), name, required=False) for name in ("classes", "objects")]  # type: ignore[no-untyped-call]
    save_model(
        target,
        python_model=str(_RUNTIME / "pyfunc.py"),
        code_paths=[str(_RUNTIME)],
        artifacts={"model": str(file)},
        pip_requirements=[f"{package}=={metadata.version(package)}" for package in REQUIREMENTS],
        # A schema of inputs would shut out either arrays or base64 text; the model checks what it gets itself.
        signature=ModelSignature(outputs=Schema(answer)),
        input_example={"image": [_example()]},
        mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id),
    )
    for cache in list(target.rglob("__pycache__")):
        shutil.rmtree(cache)


def _example() -> str:
    """A small grey PNG, base64."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (128, 128, 128)).save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


def _create_version(client: MlflowClient, name: str, model_id: str, run_id: str, tags: dict[str, str]) -> int:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(name, f"models:/{model_id}", run_id=run_id, tags=tags, model_id=model_id)
    return int(version.version)


def _all_names(client: MlflowClient) -> list[str]:
    found: list[str] = []
    page = None
    while page != "":
        answer = client.search_registered_models(page_token=page)
        found += [model.name for model in answer]
        page = answer.token or ""
    return found


def _alias_order(alias: str) -> tuple[int, str]:
    return (ALIASES.index(alias) if alias in ALIASES else len(ALIASES), alias)


def _no_model(name: str, there: list[str], store: str) -> str:
    where = f"The registry {shown(store)} has no model '{name}'"
    if not there:
        return f"{where}; it is empty. Run `dvc repro`, whose last stage registers each model."
    near = difflib.get_close_matches(name, there, n=1)
    return f"{where}; it has {', '.join(there)}." + (f" Did you mean '{near[0]}'?" if near else "")


def _no_content(version: Version, source: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[-1].rstrip(".")
    return (
        f"The files of {version.name} version {version.number} are not at {source} ({reason}). "
        "Restore that folder, or delete the version in the MLflow UI and register its model again with `segline sync`."
    )
