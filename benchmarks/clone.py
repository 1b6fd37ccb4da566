"""What benchmarks of whole trainings share: a clone of this commit in which the line's own stages run, rows that say what is trained, results that are kept.

A row is an entry of `models:`. It is trained once for its settings: begun again, a benchmark goes on with the rows that it lacks, and a training that was cut
off goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from filelock import FileLock
from ruamel.yaml import YAML

from segline.errors import DataError, ParametersError
from segline.files import whole, write_json
from segline.provenance import digest

ROOT = Path(__file__).resolve().parents[1]


def head(checkout: Path = ROOT) -> str:
    """The commit that a checkout is at."""
    return subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


class StageError(Exception):
    """A stage has ended with an error, and has said why."""

    def __init__(self, stage: str, code: int) -> None:
        self.exit_code = code if code >= 0 else 128 - code  # as a shell tells of what a signal has ended
        super().__init__(f"the stage {stage} ended with code {self.exit_code}")


class Clone:
    """A checkout of this commit in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def commit(self) -> str:
        """That its code is of; what changes params.yaml alone does not count."""
        return head(self.folder)

    def make(self, commit: str | None = None) -> None:
        """Clone, unless it is there: what is trained in one clone is of one commit, default today's. Raises DataError for a commit that is gone."""
        if self.folder.exists():
            return
        with whole(self.folder) as folder:
            subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
            found = subprocess.run(["git", "-C", str(folder), "checkout", "-q", "--detach", commit or head()], capture_output=True, check=False)
            if found.returncode:
                raise DataError(f"The commit {commit} that {self.folder.parent} began with is gone from {ROOT}; remove that folder, and all begins anew.")

    def write_params(self, values: Mapping[str, Any]) -> None:
        YAML().dump(dict(values), self.folder / "params.yaml")

    def stage(self, stage: str, *arguments: str) -> None:
        """Run it. Raises StageError."""
        environment = os.environ | {"PYTHONPATH": str(self.folder / "src"), "PYTHONUNBUFFERED": "1"}
        done = subprocess.run([sys.executable, f"pipeline/{stage}.py", *arguments], cwd=self.folder, env=environment, check=False)
        if done.returncode:
            raise StageError(stage, done.returncode)


class Kept:
    """Results by row, in a JSON file that several calls may write."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict[str, Any]:
        return dict(json.loads(self.file.read_text())) if self.file.exists() else {}

    def has(self, name: str, settings: str) -> bool:
        """Whether a row was measured with these settings."""
        found = self.read().get(name)
        return found is not None and found.get("settings") == settings

    def keep(self, name: str, result: Mapping[str, Any]) -> None:
        with FileLock(self.file.with_suffix(".lock")):
            self.write(self.read() | {name: dict(result)})

    def write(self, found: Mapping[str, Any]) -> None:
        write_json(self.file, found)


class KeptLines(Kept):
    """The same as JSON lines, each with its row's name as `row`."""

    def read(self) -> dict[str, Any]:
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        found = {}
        for number, line in enumerate(lines, start=1):
            try:
                one = json.loads(line)
                found[one.pop("row")] = one
            except (ValueError, KeyError, AttributeError, TypeError):
                raise DataError(f"{self.file}: line {number} is no row that was written here; remove it, and its row is measured again.") from None
        return found

    def write(self, found: Mapping[str, Any]) -> None:
        with whole(self.file) as file:
            file.write_text("".join(json.dumps({"row": name, **one}, ensure_ascii=False) + "\n" for name, one in found.items()), encoding="utf-8")


def merged(base: Any, over: Any) -> Any:
    """`over` key by key upon `base`; lists and plain values are replaced, and None takes a key away."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return deepcopy(over)
    both = deepcopy(base)
    for key, value in over.items():
        both[key] = merged(both[key], value) if key in both else deepcopy(value)
    return {key: value for key, value in both.items() if value is not None}


def identity(row: Mapping[str, Any]) -> str:
    """Of a row's settings, wherever the weight file lies."""
    weights = str(row.get("weights", ""))
    return digest({**row, "weights": Path(weights).name})[:16]


def use_one_core(core: int) -> None:
    """This process, and those that it starts. Raises ParametersError where there is no such core."""
    there = sorted(os.sched_getaffinity(0))
    if core not in there:
        raise ParametersError(f"--core {core}: there is no such core; this process may use {', '.join(map(str, there))}.")
    os.sched_setaffinity(0, {core})
    os.environ["OMP_NUM_THREADS"] = "1"


def core_seconds() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
