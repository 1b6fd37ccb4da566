"""From the model folder to a version: the one that has its content already, or a new one."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segline import tracking, written
from segline.card import ModelCard, require_unchanged_members
from segline.errors import ModelError, RegistryError
from segline.layout import ModelFolder
from segline.provenance import file_digest
from segline.registry.client import asked
from segline.registry.packaging import runtime_digest, save
from segline.registry.receipt import Receipt
from segline.registry.version import CANDIDATE, FORMAT, Version, versions
from segline.tracking.address import shown
from segline.tracking.contents import mapping

if TYPE_CHECKING:
    from mlflow import MlflowClient


def register(*, store: str, folder: ModelFolder, experiment: str | None = None) -> Receipt:
    """Make the model folder's ONNX model the `candidate` of `<dataset>-<model>`: a version that has this content, with the code that predicts
    around it, already, or a new one.

    experiment: whose copy of the checkout the folder lies in (see `segline.registry.copies`). Then the alias stays where it is, on the workspace's model,
    and a version that has the content already stays as it is.

    What a version is worth (figures, split, latency, parity) is that of the folder now, also where the content was registered before. With the model
    goes trained_on.json, where the folder has one. Its run is looked up by key, or rebuilt from the folder. An upload that was cut off is never taken
    for a version.

    Raises ModelError when the folder is not complete, RegistryError when parity did not pass, TrackingError when the store does not answer.
    """
    card = ModelCard.read(folder.card)
    require_unchanged_members(card, folder.path.parent)
    metrics = _read(folder.metrics, "evaluate")  # what is missing is told in the order of the line
    parity = _read(folder.parity, "export")
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
    runtime = runtime_digest(card.specification)
    worth = _worth(folder, metrics, parity)
    origin = _origin(card, folder, digest, runtime, experiment)
    run_id = tracking.record(store=store, folder=folder, strict=True)
    assert run_id is not None, "as it is strict"
    name = card.registered_name
    with asked(store) as client:
        there = next((version for version in versions(store=store, name=name) if version.digest == digest and _carries(version.tags, runtime)), None)
        if there is None:
            model_id = _upload(client, run_id, card, folder, digest, runtime)
            number = _create_version(client, name, model_id, run_id, origin | worth)
        else:
            number = there.number
        if experiment is None:
            if there is not None:
                _refresh(client, there, worth)
            client.set_registered_model_alias(name, CANDIDATE, str(number))
    return Receipt(name, number, digest, run_id, shown(store))


def fill(*, store: str, folders: Sequence[ModelFolder]) -> list[Receipt]:
    """Register each exported model whose content the registry lacks, as it does when it is new or was emptied."""
    lacking = [folder for folder in folders if folder.onnx.is_file() and with_content(store=store, folder=folder) is None]
    return [register(store=store, folder=folder) for folder in lacking]


def with_content(*, store: str, folder: ModelFolder) -> Version | None:
    """The version that holds the folder's model.onnx, if any."""
    return with_digest(store=store, name=ModelCard.read(folder.card).registered_name, digest=file_digest(folder.onnx))


def with_digest(*, store: str, name: str, digest: str) -> Version | None:
    """The version of a model whose model.onnx has this sha256, if any; the newest, where several have."""
    return next((version for version in versions(store=store, name=name) if version.digest == digest), None)


def outdated(*, version: Version, folder: ModelFolder) -> bool:
    """Whether the registry's figures of a version are not those of the folder that holds its content."""
    if not (folder.metrics.is_file() and folder.parity.is_file()):
        return False
    worth = _worth(folder, _read(folder.metrics, "evaluate"), _read(folder.parity, "export"))
    return any(version.tags.get(key) != value for key, value in worth.items())


def _read(file: Path, stage: str) -> dict[str, Any]:
    values = mapping(file, stage)
    if not values:
        raise ModelError(f"{file.parent} holds no {file.name}; run `dvc repro {stage}@{file.parent.name}` first.")
    return values


def _origin(card: ModelCard, folder: ModelFolder, digest: str, runtime: str, experiment: str | None) -> dict[str, str]:
    """Tags that say what a version is; they never change."""
    tags = {
        "segline.format": str(FORMAT),
        "segline.digest": digest,
        "segline.runtime": runtime,
        "segline.key": card.key,
        "segline.task": card.task,
        "segline.commit": card.commit or "none",
    }
    if experiment or card.experiment:
        tags["segline.experiment"] = str(experiment or card.experiment)
    if folder.trained_on.is_file():
        images = _read(folder.trained_on, "train").get("images")
        if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
            raise ModelError(f"{folder.trained_on} names no images; run `dvc repro -f train@{folder.name}` to write it anew.")
        tags["segline.trained_on"] = str(len(images))
    return tags


def _worth(folder: ModelFolder, metrics: Mapping[str, Any], parity: Mapping[str, Any]) -> dict[str, str]:
    """Tags that say how good a version is, by what the folder's metrics.json and parity.json hold."""
    figures = {key: round(value, 6) for key, value in metrics.items() if isinstance(value, float) and "/" not in key}
    with written.reading(folder.parity, ModelError, f"run `dvc repro -f -s export@{folder.name}` to write it anew"):
        return {
            "segline.split": str(parity["split"]),
            "segline.split_hash": str(parity["split_hash"]),
            "segline.parity": "passed",
            "segline.latency_ms": f"{parity['latency']['median_ms']:.6g}",
            "segline.metrics": json.dumps(figures),
        }


def _carries(tags: Mapping[str, str], runtime: str) -> bool:
    """Whether a version predicts with this runtime; one of the first format does not say, and is left as it is."""
    return tags.get("segline.runtime", runtime) == runtime


def _refresh(client: MlflowClient, version: Version, worth: Mapping[str, str]) -> None:
    for key, value in worth.items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(version.name, str(version.number), key, value)


def _upload(client: MlflowClient, run_id: str, card: ModelCard, folder: ModelFolder, digest: str, runtime: str) -> str:
    """The id of the run's logged model with this content, uploaded whole; half-uploaded ones are removed."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    experiment = client.get_run(run_id).info.experiment_id
    for earlier in client.search_logged_models([experiment], filter_string=f"tags.`segline.digest` = '{digest}'"):
        if earlier.source_run_id != run_id or not _carries(earlier.tags, runtime):
            continue
        if earlier.status == LoggedModelStatus.READY:
            return str(earlier.model_id)
        client.delete_logged_model(earlier.model_id)
    logged = client.create_logged_model(
        experiment, name=card.registered_name, source_run_id=run_id, tags={"segline.digest": digest, "segline.runtime": runtime}, model_type=card.task
    )
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    with tempfile.TemporaryDirectory(prefix="segline-register-") as temporary:
        local = Path(temporary) / "model"
        trained_on = folder.trained_on if folder.trained_on.is_file() else None
        save(file=folder.onnx, target=local, trained_on=trained_on, run_id=run_id, model_id=logged.model_id)
        client.log_model_artifacts(logged.model_id, str(local))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    return str(logged.model_id)


def _create_version(client: MlflowClient, name: str, model_id: str, run_id: str, tags: dict[str, str]) -> int:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(name, f"models:/{model_id}", run_id=run_id, tags=tags, model_id=model_id)
    return int(version.version)
