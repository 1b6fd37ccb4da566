"""The MLflow run of a trained model: found by its key or made, and given what it lacks. Training, stages and `segline sync` all write it here."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segline.card import ModelCard
from segline.params import flatten_values
from segline.provenance import digest, file_digest
from segline.tracking.contents import Contents
from segline.tracking.store import KEY_TAG, creation_lock, experiment_id, find_run, told

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

_ARTIFACT_TAG = "segline.artifact."

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Recorded:
    """What one call of `write` did."""

    model: str
    run_id: str
    created: bool  # the store lacked the run
    metrics: int  # values added
    artifacts: int  # files and folders uploaded

    def __str__(self) -> str:
        if not (self.created or self.metrics or self.artifacts):
            return f"{self.model}: complete"
        return f"{self.model}: {'run made' if self.created else 'run completed'}, {self.metrics} metric values and {self.artifacts} artifacts added"


def write(client: MlflowClient, contents: Contents, status: Status) -> Recorded:
    """Make the run of a model hold what its folder says, and show it as going on or ended. What is there already is not sent again.

    client: as `connect` gives it. Files are uploaded when the run has finished. Raises TrackingError when the store fails.
    """
    from mlflow.entities import Param, RunTag

    store, card = str(client.tracking_uri), contents.card
    experiment = experiment_id(client, card.dataset["name"])
    with told(store):
        with creation_lock(store):  # two processes that set a new tag of the same run at once break an SQLite store
            run, created = _run(client, contents, experiment)
            run_id = str(run.info.run_id)
            if status == "RUNNING" and run.info.status != "RUNNING":
                client.update_run(run_id, status=status)
            tags = {name: value for name, value in _tags(contents).items() if run.data.tags.get(name) != value}
            parameters = {name: str(value) for name, value in _parameters(card).items() if name not in run.data.params}
            metrics = [*_lacking_steps(client, run, contents), *_changed_scores(run, contents)]
            client.log_batch(run_id, metrics, [Param(*item) for item in parameters.items()], [RunTag(*item) for item in tags.items()])
            if not (run.inputs and run.inputs.dataset_inputs):
                client.log_inputs(run_id, datasets=[_dataset(card)])
        artifacts = _upload(client, run, contents) if status == "FINISHED" else 0
        if status not in ("RUNNING", run.info.status):
            client.set_terminated(run_id, status, end_time=max(contents.end_ms, run.info.start_time))
    return Recorded(card.model, run_id, created, len(metrics), artifacts)


def _run(client: MlflowClient, contents: Contents, experiment: str) -> tuple[Run, bool]:
    """The run of the model's key, and whether it was made just now."""
    card = contents.card
    found = find_run(client, card.key, card.dataset["name"])
    if found is not None:
        return found, False
    name = f"{card.model}-{card.experiment or card.key[:8]}"
    mine = client.create_run(experiment, start_time=contents.start_ms, tags=_tags(contents), run_name=name)
    oldest = find_run(client, card.key, card.dataset["name"]) or mine
    if oldest.info.run_id == mine.info.run_id:
        return mine, True
    client.delete_run(mine.info.run_id)  # another process was faster
    return oldest, False


def _lacking_steps(client: MlflowClient, run: Run, contents: Contents) -> Iterator[Metric]:
    from mlflow.entities import Metric

    there: dict[str, set[int]] = {}
    # By the time it was trained for, the same at every call, so that MLflow itself drops what two processes send at once.
    at_ms = float(run.info.start_time)
    for epoch, values in contents.epochs.items():
        at_ms += 1000 * values.get("seconds", 0)
        for name, value in values.items():
            if name not in there:
                there[name] = {metric.step for metric in client.get_metric_history(run.info.run_id, name)} if name in run.data.metrics else set()
            if epoch not in there[name]:
                yield Metric(name, value, int(at_ms), epoch)


def _changed_scores(run: Run, contents: Contents) -> Iterator[Metric]:
    from mlflow.entities import Metric

    now_ms = int(1000 * time.time())
    return (Metric(name, value, now_ms, 0) for name, value in contents.scores.items() if run.data.metrics.get(name) != value)


def _upload(client: MlflowClient, run: Run, contents: Contents) -> int:
    """Upload the files and folders that the run does not have as they are now; how many. A folder is replaced as a whole."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(run.info.artifact_uri, tracking_uri=client.tracking_uri)
    there = {artifact.path for artifact in repository.list_artifacts()}
    uploaded = 0
    for path in contents.files:
        content = _content_digest(path)
        if path.name in there and run.data.tags.get(f"{_ARTIFACT_TAG}{path.name}") == content:
            continue
        if path.is_dir():
            if path.name in there:
                repository.delete_artifacts(path.name)  # type: ignore[no-untyped-call]  # what is no longer in the folder goes
            client.log_artifacts(run.info.run_id, str(path), artifact_path=path.name)
        else:
            client.log_artifact(run.info.run_id, str(path))
        with creation_lock(str(client.tracking_uri)):
            client.set_tag(run.info.run_id, f"{_ARTIFACT_TAG}{path.name}", content)  # last: an upload that is cut off is done again
        uploaded += 1
    return uploaded


def _parameters(card: ModelCard) -> dict[str, Any]:
    """The settings with the keys that they have in the entry of `models:`, and the seed, which all models share."""
    return {"seed": card.plan["seed"], **flatten_values(card.plan["settings"])}


def _tags(contents: Contents) -> dict[str, str]:
    card = contents.card
    tags = {
        KEY_TAG: card.key,
        **{f"segline.{part}": value for part, value in card.parts.items()},  # parameters, data, code
        "segline.model": card.model,
        "segline.task": card.task,
        "segline.dataset": card.dataset["name"],
        "segline.versions": ", ".join(f"{package} {version}" for package, version in card.versions.items()),
        **{f"segline.{name}": value for name, value in contents.measured_on.items()},
    }
    if card.commit:
        tags |= {"segline.commit": card.commit, "mlflow.source.git.commit": card.commit.removesuffix("-dirty")}
    if card.experiment:
        tags["segline.experiment"] = card.experiment
    return tags


def _dataset(card: ModelCard) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    info = card.dataset
    image = info.get("image", info)  # cards of the first version have no kind of image apart
    images = {"type": "tensor", "tensor-spec": {"dtype": image.get("dtype", "uint8"), "shape": [-1, -1, -1, image.get("channels", 3)]}}
    dataset = Dataset(
        name=info["name"],
        digest=digest(card.data_hash)[:32],  # MLflow takes 36 characters; the hash as such is the tag segline.data
        source_type="segline",
        source=json.dumps({"data_hash": card.data_hash, "fingerprint": info.get("fingerprint"), "licence": info.get("licence")}),
        schema=json.dumps({"mlflow_tensorspec": {"features": json.dumps([images])}}),
        profile=json.dumps({"images": info.get("counts"), "objects": info.get("instance_counts"), "classes": [c["name"] for c in info.get("classes", ())]}),
    )
    return DatasetInput(dataset=dataset, tags=[InputTag("mlflow.data.context", "train")])


def _content_digest(path: Path) -> str:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return digest({file.relative_to(path.parent).as_posix(): file_digest(file) for file in files})
