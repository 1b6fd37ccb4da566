"""Every environment variable that Segline reads, in one place."""

from __future__ import annotations

import os

_MOST_PER_NODE = 1024  # processes, so that numbers of two nodes differ


def tracking_uri() -> str | None:
    """`MLFLOW_TRACKING_URI`: the tracking store; overrides `tracking.uri` of params.yaml."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def experiment_name() -> str | None:
    """`DVC_EXP_NAME`: the name DVC gives to the experiment it runs."""
    return os.environ.get("DVC_EXP_NAME") or None


def home() -> str | None:
    """`SEGLINE_HOME`: the main checkout, where it cannot be read off the path of a copy."""
    return os.environ.get("SEGLINE_HOME") or None


def process_rank() -> int:
    """`RANK`, `LOCAL_RANK` with `NODE_RANK`, or SLURM's `SLURM_PROCID`: which process of a distributed training this is; 0 is the one that writes."""
    if os.environ.get("RANK"):
        return int(os.environ["RANK"])
    if os.environ.get("LOCAL_RANK"):
        return int(os.environ["LOCAL_RANK"]) + _MOST_PER_NODE * int(os.environ.get("NODE_RANK") or 0)
    return int(os.environ.get("SLURM_PROCID") or 0)
