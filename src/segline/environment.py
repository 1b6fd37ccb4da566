"""Every environment variable that Segline reads, in one place; the one that registered models read is in `segline_runtime.pyfunc`."""

from __future__ import annotations

import os

from segline.errors import ParametersError

_MOST_PER_NODE = 1024  # processes, so that numbers of two nodes differ


def tracking_uri() -> str | None:
    """`MLFLOW_TRACKING_URI`: the tracking store; overrides `tracking.uri` of params.yaml."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def tracking_workspace() -> list[str | None]:
    """`MLFLOW_ENABLE_WORKSPACES`, `MLFLOW_WORKSPACE`: which part of a store MLflow shows, where it is divided into workspaces."""
    return [os.environ.get("MLFLOW_ENABLE_WORKSPACES"), os.environ.get("MLFLOW_WORKSPACE")]


def experiment_name() -> str | None:
    """`DVC_EXP_NAME`: the name DVC gives to the experiment it runs."""
    return os.environ.get("DVC_EXP_NAME") or None


def home() -> str | None:
    """`SEGLINE_HOME`: the main checkout, where it cannot be read off the path of a copy."""
    return os.environ.get("SEGLINE_HOME") or None


def process_rank() -> int:
    """Which process of a distributed training this is; 0 is the one that writes.

    `RANK` (torchrun), or `LOCAL_RANK` within `NODE_RANK` (Lightning; `GROUP_RANK` is torchrun's word for it), or SLURM's `SLURM_PROCID`. Where only
    `NODE_RANK` is set, this is the process that will start the others of its node: the first one of a later node is not process 0.
    """
    rank = _number("RANK")
    if rank is not None:
        return rank
    local, node = _number("LOCAL_RANK") or 0, _number("NODE_RANK") or _number("GROUP_RANK") or 0
    return local + _MOST_PER_NODE * node or _number("SLURM_PROCID") or 0


def _number(variable: str) -> int | None:
    """Raises ParametersError when it is set and no whole number."""
    text = os.environ.get(variable)
    if not text:
        return None
    if not text.strip().isdecimal():
        raise ParametersError(f"The environment variable {variable} is '{text}'; who starts several processes sets it to a whole number, or not at all.")
    return int(text)
