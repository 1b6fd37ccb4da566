"""The MLflow run of a trained model: made with what identifies it, and read back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from segline.card import ModelCard
from segline.params import flatten_values
from segline.provenance import digest
from segline.tracking.store import KEY_TAG, creation_lock, experiment_id, find_run, told

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

_METRICS_PER_CALL = 500
_PARAMETERS_PER_CALL = 100

T = TypeVar("T")


def open_run(client: MlflowClient, card: ModelCard, *, start_ms: int) -> tuple[Run, bool]:
    """The run of the card's key with its parameters, tags and data set, and whether it was made here, as of `start_ms` (milliseconds since 1970).

    Raises TrackingError.
    """
    store, dataset, key = str(client.tracking_uri), str(card.dataset["name"]), card.provenance.key
    experiment = experiment_id(client, dataset)
    with told(store), creation_lock(store):
        run = find_run(client, key, dataset)
        created = run is None
        if run is None:
            mine = client.create_run(experiment, start_time=start_ms, tags=_tags(card), run_name=_name(card))
            run = find_run(client, key, dataset) or mine
            if run.info.run_id != mine.info.run_id:  # another process was faster
                client.delete_run(mine.info.run_id)
                created = False
        run = client.get_run(run.info.run_id)
        _describe(client, run, card)
    return run, created


def log_steps(client: MlflowClient, run: str, metrics: Iterable[Metric]) -> None:
    """Log metrics in calls that MLflow accepts."""
    for some in _chunks(metrics, _METRICS_PER_CALL):
        client.log_batch(run, metrics=some)


def logged_steps(client: MlflowClient, run: str, name: str) -> set[int]:
    """The steps at which the run has a metric."""
    return {metric.step for metric in client.get_metric_history(run, name)}


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among the values; NaN and infinities, which mean `not measured`, are left out."""
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float) and math.isfinite(value)}


def _describe(client: MlflowClient, run: Run, card: ModelCard) -> None:
    """Give the run the tags, parameters and data set that it lacks."""
    from mlflow.entities import Param, RunTag

    run_id = run.info.run_id
    tags = [RunTag(name, value) for name, value in _tags(card).items() if run.data.tags.get(name) != value]
    missing = [Param(name, str(value)) for name, value in _parameters(card).items() if name not in run.data.params]
    for some in _chunks(missing, _PARAMETERS_PER_CALL):
        client.log_batch(run_id, params=some)
    if tags:
        client.log_batch(run_id, tags=tags)
    if run.inputs is None or not run.inputs.dataset_inputs:
        client.log_inputs(run_id, datasets=[_dataset(card)])


def _parameters(card: ModelCard) -> dict[str, Any]:
    """The entry of `models:` with the keys it has there, beside what holds for all models."""
    common = {name: value for name, value in card.parameters.items() if name != "model"}
    return flatten_values(common | dict(card.parameters.get("model", {})))


def _tags(card: ModelCard) -> dict[str, str]:
    origin = card.provenance
    tags = {
        KEY_TAG: origin.key,
        "segline.parameters": origin.parameters,
        "segline.data": origin.data,
        "segline.code": origin.code,
        "segline.model": card.model,
        "segline.task": card.task,
        "segline.dataset": card.dataset["name"],
        "segline.versions": ", ".join(f"{package} {version}" for package, version in card.versions.items()),
    }
    if card.commit:
        tags |= {"segline.commit": card.commit, "mlflow.source.git.commit": card.commit.removesuffix("-dirty")}
    if card.experiment:
        tags["segline.experiment"] = card.experiment
    return tags


def _name(card: ModelCard) -> str:
    return f"{card.model}-{card.experiment or card.provenance.key[:8]}"


def _dataset(card: ModelCard) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    info = card.dataset
    images = {"type": "tensor", "tensor-spec": {"dtype": info.get("dtype", "uint8"), "shape": [-1, -1, -1, info.get("channels", 3)]}}
    dataset = Dataset(
        name=info["name"],
        digest=digest(card.provenance.data)[:32],  # MLflow takes 36 characters; the hash as such is the tag segline.data
        source_type="segline",
        source=json.dumps({"data_hash": card.provenance.data, "fingerprint": info.get("fingerprint"), "licence": info.get("licence")}),
        schema=json.dumps({"mlflow_tensorspec": {"features": json.dumps([images])}}),
        profile=json.dumps({"images": info.get("counts"), "objects": info.get("instance_counts"), "classes": [c["name"] for c in info.get("classes", ())]}),
    )
    return DatasetInput(dataset=dataset, tags=[InputTag("mlflow.data.context", "train")])


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
