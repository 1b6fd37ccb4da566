"""From the model folder to its MLflow run, again and again: each call makes the run hold what the folder says, and adds nothing that is there."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from segline.errors import ModelError, TrackingError
from segline.layout import ModelFolder
from segline.tracking.contents import Contents, read
from segline.tracking.patience import BUDGET_S, patience, within
from segline.tracking.runs import Run
from segline.tracking.store import TIMEOUT_S, connect, load_mlflow, shown

if TYPE_CHECKING:
    from mlflow import MlflowClient


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
    contents = read(folder)
    if strict:
        return _complete(connect(store), contents).run_id
    given_up = threading.Event()
    try:
        load_mlflow()  # takes seconds, which are not the server's fault
        with patience(store, budget_s) as left:
            if not left:
                raise TrackingError("The tracking store has failed before.")
            timeout_s = min(TIMEOUT_S, left)
            return within(left, lambda: _complete(connect(store, timeout_s=timeout_s), contents, given_up), shown(store)).run_id
    except TrackingError as error:
        given_up.set()
        print(f"tracking: {error} Nothing is lost: `segline sync` completes the run of '{contents.card.model}' later.", file=sys.stderr)
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
            done.append(_complete(client, read(folder)))
        except ModelError as error:
            problems += error.problems
    if problems:
        raise ModelError(*problems)
    return done


def _complete(client: MlflowClient, contents: Contents, given_up: threading.Event | None = None) -> Recorded:
    run = Run(client, contents, given_up)
    metrics = run.log(contents)
    artifacts = run.upload(contents)
    run.be("FINISHED", end_ms=contents.end_ms)
    return Recorded(contents.card.model, run.id, run.created, metrics, artifacts)
