"""The logbook: one MLflow run for one trained model, found by the model's key and rebuilt from the model folder where a store lacks it.

store      where the store is, how it is reached in bounded time, which run belongs to a key
runs       what a run says of its model: parameters, tags, data set
live       the run of a training as it happens
recording  the run made complete from the model folder
patience   what a failing store may cost a process
"""

from segline.tracking.live import LiveRun, following
from segline.tracking.recording import Recorded, record, sync
from segline.tracking.store import connect, experiment_id, run_id, store_uri

__all__ = ["LiveRun", "Recorded", "connect", "experiment_id", "following", "record", "run_id", "store_uri", "sync"]
