"""From the model folder to its MLflow run, again and again: each call makes the run hold what the folder says, and adds nothing that is there."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from segline.card import ModelCard
from segline.errors import ModelError, TrackingError
from segline.layout import ModelFolder
from segline.params import flatten_values
from segline.provenance import digest, file_digest
from segline.tracking.patience import BUDGET_S, patience
from segline.tracking.runs import finite, log_steps, logged_steps, open_run
from segline.tracking.store import TIMEOUT_S, connect, load_mlflow, told, within

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

_ARTIFACT_TAG = "segline.artifact."
SCORED = {"test": "test_", "val": "scored_val_"}
"""Prefix of the final figures by split. `val_…` is taken by the epochs' figures, of the images that steered the training."""


@dataclass(frozen=True)
class Recorded:
    """What one call of `record` did."""

    model: str
    run_id: str
    created: bool  # the store lacked the run
    metrics: int  # values added
    artifacts: int  # files and folders uploaded

    def __str__(self) -> str:
        if not (self.created or self.metrics or self.artifacts):
            return f"{self.model}: complete"
        return f"{self.model}: {'run made' if self.created else 'run completed'}, {self.metrics} metric values and {self.artifacts} artifacts added"


@overload
def record(store: str, folder: ModelFolder, *, strict: Literal[True], budget_s: float = BUDGET_S) -> str: ...
@overload
def record(store: str, folder: ModelFolder, *, strict: bool = False, budget_s: float = BUDGET_S) -> str | None: ...


def record(store: str, folder: ModelFolder, *, strict: bool = False, budget_s: float = BUDGET_S) -> str | None:
    """Make the store hold everything that the model folder says, in the run of its key, which is built where the store lacks it.

    Parameters, metrics per epoch (the steps that the run lacks), final figures, parity and latency, plots and the small files as artifacts, the data
    set, tags. Weights and model.onnx stay out: the registry has the model. A second call adds nothing; figures and plots of a new evaluation replace
    the older ones. A training that was forced to run again under the same key keeps the epochs' values of the first.

    Returns the id of the run. When the store fails, or this process has lost `budget_s` seconds to it: prints one sentence and returns None,
    so that no stage fails for a server's sake; with `strict` there is no such limit, and TrackingError is raised.
    Raises ModelError when the folder holds no trained model.
    """
    card = ModelCard.read(folder.card)
    if strict:
        load_mlflow()
        return _complete(connect(store), folder, card).run_id
    waiting = patience(store, budget_s)
    start = time.monotonic()
    try:
        load_mlflow()
        start = time.monotonic()  # the import is not the server's fault
        if not waiting.left:
            raise TrackingError("The tracking store has failed before.")
        until = start + waiting.left
        timeout_s = min(TIMEOUT_S, waiting.left)
        return within(waiting.left, lambda: _complete(connect(store, timeout_s=timeout_s), folder, card, until=until), store).run_id
    except TrackingError as error:
        waiting.spend(time.monotonic() - start)
        print(f"tracking: {error} Nothing is lost: `segline sync` completes the run of '{card.model}' later.", file=sys.stderr)
        return None


def sync(store: str, models: Path) -> list[Recorded]:
    """`record` for each model folder below `models` that holds a trained model; what was done, for people.

    Raises TrackingError when the store fails, and, after all others were recorded, ModelError for folders that cannot be read.
    """
    done: list[Recorded] = []
    problems: list[str] = []
    folders = [ModelFolder(path) for path in sorted(models.iterdir()) if ModelFolder(path).card.is_file()] if models.is_dir() else []
    if folders:
        client = connect(store)
    for folder in folders:
        try:
            done.append(_complete(client, folder, ModelCard.read(folder.card)))
        except ModelError as error:
            problems += error.problems
    if problems:
        raise ModelError(*problems)
    return done


def _complete(client: MlflowClient, folder: ModelFolder, card: ModelCard, *, until: float = float("inf")) -> Recorded:
    """`until`: on time.monotonic(), after which nothing more is sent."""
    rows, scores = _history(folder), _scores(folder)
    end_ms = int(1000 * folder.card.stat().st_mtime)
    start_ms = end_ms - int(1000 * float(card.training.get("seconds", 0)))
    with told(str(client.tracking_uri)):
        run, created = open_run(client, card, start_ms=start_ms)
        _in_time(until)
        metrics = [*_lacking_steps(client, run, rows, created, start_ms=run.info.start_time, end_ms=end_ms), *_changed_scores(run, scores)]
        _in_time(until)
        log_steps(client, run.info.run_id, metrics)
        artifacts = 0
        for path in _artifacts(folder):
            _in_time(until)
            artifacts += _upload(client, run, path)
        _tag_scores(client, run, folder)
        if run.info.status != "FINISHED":
            client.set_terminated(run.info.run_id, "FINISHED", end_time=max(end_ms, run.info.start_time))
    return Recorded(card.model, run.info.run_id, created, len(metrics), artifacts)


def _in_time(until: float) -> None:
    if time.monotonic() > until:
        raise TrackingError("The tracking store took too long.")


def _lacking_steps(client: MlflowClient, run: Run, rows: dict[int, dict[str, float]], created: bool, *, start_ms: int, end_ms: int) -> Iterator[Metric]:
    from mlflow.entities import Metric

    names = {name for values in rows.values() for name in values}
    there = {name: set() if created else logged_steps(client, run.info.run_id, name) for name in names}
    span = max(0, end_ms - start_ms)
    for i, (epoch, values) in enumerate(rows.items(), start=1):
        # Spread over the training's time, the same at every call, so that MLflow itself drops what two processes send at once.
        at_ms = start_ms + span * i // len(rows)
        yield from (Metric(name, value, at_ms, epoch) for name, value in values.items() if epoch not in there[name])


def _changed_scores(run: Run, scores: dict[str, float]) -> Iterator[Metric]:
    from mlflow.entities import Metric

    now_ms = int(1000 * time.time())
    return (Metric(name, value, now_ms, 0) for name, value in scores.items() if run.data.metrics.get(name) != value)


def _history(folder: ModelFolder) -> dict[int, dict[str, float]]:
    """Metrics by epoch; empty cells (an epoch without validation) are left out."""
    if not folder.history.is_file():
        return {}
    try:
        with folder.history.open(newline="") as file:
            return {int(float(row["epoch"])): finite({k: float(v) for k, v in row.items() if k != "epoch" and v}) for row in csv.DictReader(file)}
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder.history} cannot be read ({error}); run `dvc repro -f train@{folder.name}` to make it anew.") from None


def _scores(folder: ModelFolder) -> dict[str, float]:
    """The final figures: of metrics.json by split, of parity.json as `parity.…`."""
    scores: dict[str, float] = {}
    metrics = _json(folder.metrics, "evaluate")
    prefix = SCORED.get(str(metrics.get("split")), f"{metrics.get('split')}_")
    scores |= {prefix + name: value for name, value in finite(metrics).items()}
    scores |= finite(flatten_values(_json(folder.parity, "export"), "parity")) if folder.parity.is_file() else {}
    return scores


def _tag_scores(client: MlflowClient, run: Run, folder: ModelFolder) -> None:
    """What the figures were measured on, which is no number: split and its hash."""
    for name, value in _json(folder.metrics, "evaluate").items():
        if isinstance(value, str) and run.data.tags.get(f"segline.{name}") != value:
            client.set_tag(run.info.run_id, f"segline.{name}", value)


def _json(file: Path, stage: str) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text())
    except ValueError as error:
        raise ModelError(f"{file} cannot be read ({error}); run `dvc repro -f -s {stage}@{file.parent.name}` to write it anew.") from None
    assert isinstance(values, dict), f"{file} holds no mapping"
    return values


def _artifacts(folder: ModelFolder) -> list[Path]:
    return [path for path in (folder.card, folder.history, folder.metrics, folder.parity, folder.plots) if path.exists()]


def _upload(client: MlflowClient, run: Run, path: Path) -> bool:
    """Upload a file or folder unless the run has it with this content; of a folder, what is no longer in it goes."""
    content = _content_digest(path)
    run_id, tag = run.info.run_id, f"{_ARTIFACT_TAG}{path.name}"
    if run.data.tags.get(tag) == content and any(artifact.path == path.name for artifact in client.list_artifacts(run_id)):
        return False
    if path.is_dir():
        _remove_vanished(client, run_id, path)
        client.log_artifacts(run_id, str(path), artifact_path=path.name)
    else:
        client.log_artifact(run_id, str(path))
    client.set_tag(run_id, tag, content)  # last: an upload that is cut off is done again
    return True


def _remove_vanished(client: MlflowClient, run_id: str, folder: Path) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    waiting = [folder.name]
    repository = None
    while waiting:
        for artifact in client.list_artifacts(run_id, waiting.pop()):
            if artifact.is_dir:
                waiting.append(artifact.path)
            elif not (folder.parent / artifact.path).is_file():
                repository = repository or get_artifact_repository(client.get_run(run_id).info.artifact_uri, tracking_uri=client.tracking_uri)
                repository.delete_artifacts(artifact.path)  # type: ignore[no-untyped-call]


def _content_digest(path: Path) -> str:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return digest({file.relative_to(path.parent).as_posix(): file_digest(file) for file in files})
