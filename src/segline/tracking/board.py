"""The leaderboard in the logbook: one run per data set keeps the newest tables, found by its tag."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segline.tracking.store import connect, creation_lock, experiment_id, told

TAG = "segline.leaderboard"
NAME = "leaderboard"


def log_board(store: str, dataset: str, files: Sequence[Path]) -> str:
    """Keep `files` as artifacts of the data set's run for leaderboards, in the place of older ones of the same names; the id of the run.

    Raises TrackingError when the store fails.
    """
    client = connect(store)
    experiment = experiment_id(client, dataset)
    with told(str(client.tracking_uri)):
        with creation_lock(str(client.tracking_uri)):
            there = list(client.search_runs([experiment], f"tags.`{TAG}` = '1'"))
            run = min(there, key=lambda one: one.info.start_time) if there else client.create_run(experiment, tags={TAG: "1"}, run_name=NAME)
        for file in files:
            client.log_artifact(run.info.run_id, str(file))
        client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)
