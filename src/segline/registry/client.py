"""Reaching the store: what goes wrong between here and there becomes a TrackingError."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from segline import tracking
from segline.tracking.store import load_mlflow, told

if TYPE_CHECKING:
    from mlflow import MlflowClient


@contextmanager
def asked(store: str) -> Iterator[MlflowClient]:
    """A client of the store; what goes wrong between here and there becomes a TrackingError."""
    load_mlflow()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for each of a dozen small files
    with told(store):
        yield tracking.connect(store)
