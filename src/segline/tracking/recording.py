"""From the model folder to its MLflow run, again and again: each call makes the run hold what the folder says, and adds nothing that is there."""

from __future__ import annotations

import sys
from pathlib import Path

from segline.errors import ModelError, TrackingError
from segline.layout import ModelFolder
from segline.tracking.address import shown
from segline.tracking.contents import DataPages, read
from segline.tracking.patience import BUDGET_S, patience, within
from segline.tracking.runs import Recorded, write
from segline.tracking.store import TIMEOUT_S, connect, load_mlflow


def record(store: str, folder: ModelFolder, *, data: DataPages | None = None, strict: bool = False, budget_s: float = BUDGET_S) -> str | None:
    """Make the store hold everything that the model folder says, in the run of its key, which is built where the store lacks it.

    Parameters, metrics per epoch (the steps that the run lacks), final figures, parity and latency, plots and the small files as artifacts, the data
    set, tags, and what `prepare` shows of the data (`data`) where the model was trained on it. Weights and model.onnx stay out: the registry has the model.
    A second call adds nothing; figures and plots of a new evaluation replace the older ones. A training that was forced to run again under the same key
    keeps the epochs' values of the first.

    Returns the id of the run. When the store fails, or this process has lost `budget_s` seconds to it: prints one sentence and returns None,
    so that no stage fails for a server's sake; with `strict` there is no such limit: TrackingError is raised, and None never returned.
    Raises ModelError when the folder holds no trained model.
    """
    contents = read(folder, data)
    if strict:
        return write(connect(store), contents, "FINISHED").run_id
    try:
        load_mlflow()  # takes seconds, which are not the server's fault
        with patience(store, budget_s) as left:
            if not left:
                raise TrackingError("The tracking store has failed before.")
            return within(left, lambda: write(connect(store, timeout_s=min(TIMEOUT_S, left)), contents, "FINISHED"), shown(store)).run_id
    except TrackingError as error:
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
            done.append(write(client, read(folder), "FINISHED"))
        except ModelError as error:
            problems += error.problems
    if problems:
        raise ModelError(*problems)
    return done
