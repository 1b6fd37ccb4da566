"""The logbook: one MLflow run for one trained model, found by the model's key and rebuilt from the model folder where a store lacks it.

address    where the store is, and how its address is shown without its secrets
store      how it is made and reached in bounded time, which run belongs to a key
patience   what a failing store may cost a process
contents   what a model folder says
runs       the run, and the one place that decides what it lacks and writes it
board      the leaderboard
recording  the run made complete from the model folder
live       the run of a training as it happens, from its resume folder
tables     what the database of a local store says, without MLflow
quick      MLflow for a command that only asks
"""

from segline.tracking.address import store_uri
from segline.tracking.board import log_board
from segline.tracking.contents import DataPages
from segline.tracking.live import LiveRun, following
from segline.tracking.recording import record, sync
from segline.tracking.runs import Recorded
from segline.tracking.store import connect, experiment_id, run_id

__all__ = ["DataPages", "LiveRun", "Recorded", "connect", "experiment_id", "following", "log_board", "record", "run_id", "store_uri", "sync"]
