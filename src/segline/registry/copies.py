"""Registrations in the copies that DVC makes of the checkout for `dvc exp run --temp` and `--queue`."""

from __future__ import annotations

from pathlib import Path

from segline import environment, written
from segline.errors import ParametersError
from segline.files import write_json
from segline.layout import Checkout

_COPIES = "/.dvc/tmp/exps/"
"""Where DVC puts them."""


def experiment_of(checkout: Checkout) -> str | None:
    """The experiment that a copy was made for; None in the workspace, and in a clone that shares another checkout's store by `SEGLINE_HOME`."""
    root = checkout.root.resolve()
    if root == checkout.main:
        return None
    name = environment.experiment_name()
    return name or (root.name if _COPIES in root.as_posix() else None)


def mark(plan: Path, experiment: str) -> None:
    """Write into the plan of `register`, on which that stage depends, that it ran for an experiment.

    DVC records a stage's dependencies when it ends. Where the experiment is applied, the plan is without the mark, so `dvc repro` registers again,
    now with the alias `candidate`. The plan is an output of another stage, in a copy that is thrown away.
    """
    with written.reading(plan, ParametersError, "run `dvc repro plan` to write it anew"):
        values = written.mapping(plan)
    write_json(plan, values | {"experiment": experiment})
