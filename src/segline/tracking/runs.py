"""The MLflow run of a trained model: found by its key or made, and given what it lacks. Training, stages and `segline sync` all write it here."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from segline.card import ModelCard
from segline.errors import TrackingError
from segline.params import flatten_values
from segline.provenance import digest, file_digest
from segline.tracking.contents import Contents
from segline.tracking.store import KEY_TAG, creation_lock, experiment_id, find_run, told

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

_ARTIFACT_TAG = "segline.artifact."
_METRICS_PER_CALL = 500
_PARAMETERS_PER_CALL = 100

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
T = TypeVar("T")


class Run:
    """The run of one model in one store. It remembers what the run holds, so that a growing history costs one call per epoch.

    client: as `connect` gives it. given_up: once it is set, nothing more is sent. Every method raises TrackingError when the store fails.
    """

    def __init__(self, client: MlflowClient, contents: Contents, given_up: threading.Event | None = None) -> None:
        self._client = client
        self._store = str(client.tracking_uri)
        self._given_up = given_up or threading.Event()
        self._steps: dict[str, set[int]] = {}  # that the run has, by metric
        card = contents.card
        experiment = experiment_id(client, card.dataset["name"])
        self._proceed()
        with told(self._store), creation_lock(self._store):
            found = find_run(client, card.key, card.dataset["name"])
            self.created = found is None
            if found is None:
                mine = client.create_run(experiment, start_time=contents.start_ms, tags=_tags(card), run_name=_name(card))
                found = find_run(client, card.key, card.dataset["name"]) or mine
                if found.info.run_id != mine.info.run_id:  # another process was faster
                    client.delete_run(mine.info.run_id)
                    self.created = False
            self.id = str(found.info.run_id)
            self._found = client.get_run(self.id)
            self._status: str = self._found.info.status
            self._describe(card)

    def log(self, contents: Contents) -> int:
        """Send the epochs that the run lacks, and the final figures that have changed, with what they were measured on; how many values were sent."""
        self._proceed()
        with told(self._store):
            metrics = [*self._lacking_steps(contents), *self._changed_scores(contents)]
            for some in _chunks(metrics, _METRICS_PER_CALL):
                self._client.log_batch(self.id, metrics=some)
            self._tag_alone({f"segline.{name}": value for name, value in contents.measured_on.items()})
        for metric in metrics:
            self._steps.setdefault(metric.key, set()).add(metric.step)
        return len(metrics)

    def upload(self, contents: Contents) -> int:
        """Upload the files and folders that the run does not have as they are now; how many. Of a folder, what is no longer in it goes."""
        uploaded = 0
        for path in contents.files:
            self._proceed()
            with told(self._store):
                content, there = _content_digest(path), {artifact.path for artifact in self._client.list_artifacts(self.id)}
                if path.name in there and self._found.data.tags.get(f"{_ARTIFACT_TAG}{path.name}") == content:
                    continue
                if path.is_dir():
                    self._remove_vanished(path)
                    self._client.log_artifacts(self.id, str(path), artifact_path=path.name)
                else:
                    self._client.log_artifact(self.id, str(path))
                self._tag_alone({f"{_ARTIFACT_TAG}{path.name}": content})  # last: an upload that is cut off is done again
                uploaded += 1
        return uploaded

    def be(self, status: Status, *, end_ms: int | None = None) -> None:
        """Show the run as going on, or as ended: at `end_ms`, else now."""
        if status == self._status:
            return
        self._proceed()
        with told(self._store):
            if status == "RUNNING":
                self._client.update_run(self.id, status=status)
            else:
                self._client.set_terminated(self.id, status, end_time=end_ms and max(end_ms, self._found.info.start_time))
        self._status = status

    def _proceed(self) -> None:
        if self._given_up.is_set():
            raise TrackingError("The tracking store took too long.")

    def _describe(self, card: ModelCard) -> None:
        """Give the run the parameters, tags and data set that it lacks."""
        from mlflow.entities import Param

        missing = [Param(name, str(value)) for name, value in _parameters(card).items() if name not in self._found.data.params]
        for some in _chunks(missing, _PARAMETERS_PER_CALL):
            self._client.log_batch(self.id, params=some)
        for name, value in _tags(card).items():
            self._tag(name, value)
        if self._found.inputs is None or not self._found.inputs.dataset_inputs:
            self._client.log_inputs(self.id, datasets=[_dataset(card)])

    def _tag_alone(self, tags: dict[str, str]) -> None:
        """Set the tags that differ; two processes that set a new one of the same run at once break an SQLite store."""
        if any(self._found.data.tags.get(name) != value for name, value in tags.items()):
            with creation_lock(self._store):
                for name, value in tags.items():
                    self._tag(name, value)

    def _tag(self, name: str, value: str) -> None:
        if self._found.data.tags.get(name) != value:
            self._client.set_tag(self.id, name, value)

    def _lacking_steps(self, contents: Contents) -> Iterator[Metric]:
        from mlflow.entities import Metric

        # By the time it was trained for, the same at every call, so that MLflow itself drops what two processes send at once.
        at_ms = float(self._found.info.start_time)
        for epoch, values in contents.epochs.items():
            at_ms += 1000 * values.get("seconds", 0)
            for name, value in values.items():
                if epoch not in self._steps_of(name):
                    yield Metric(name, value, int(at_ms), epoch)

    def _steps_of(self, name: str) -> set[int]:
        if name not in self._steps:
            self._steps[name] = set() if self.created else {metric.step for metric in self._client.get_metric_history(self.id, name)}
        return self._steps[name]

    def _changed_scores(self, contents: Contents) -> Iterator[Metric]:
        from mlflow.entities import Metric

        now_ms = int(1000 * time.time())
        return (Metric(name, value, now_ms, 0) for name, value in contents.scores.items() if self._found.data.metrics.get(name) != value)

    def _remove_vanished(self, folder: Path) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        repository = get_artifact_repository(self._found.info.artifact_uri, tracking_uri=self._client.tracking_uri)
        waiting = [folder.name]
        while waiting:
            for artifact in self._client.list_artifacts(self.id, waiting.pop()):
                if artifact.is_dir:
                    waiting.append(artifact.path)
                elif not (folder.parent / artifact.path).is_file():
                    repository.delete_artifacts(artifact.path)  # type: ignore[no-untyped-call]


def _parameters(card: ModelCard) -> dict[str, Any]:
    """The settings with the keys that they have in the entry of `models:`, and the seed, which all models share."""
    return {"seed": card.plan["seed"], **flatten_values(card.plan["settings"])}


def _tags(card: ModelCard) -> dict[str, str]:
    tags = {
        KEY_TAG: card.key,
        **{f"segline.{part}": value for part, value in card.parts.items()},  # parameters, data, code
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
    return f"{card.model}-{card.experiment or card.key[:8]}"


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


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
