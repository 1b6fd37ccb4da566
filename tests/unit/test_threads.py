"""Waiting threads: every stage says how long they spin before torch is loaded, and what the user has set stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOWN = "import here, os, sys; print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"


@pytest.mark.parametrize(
    ("own", "expected"),
    [({}, "False 10000 None"), ({"GOMP_SPINCOUNT": "7"}, "False 7 None"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "False None ACTIVE")],
    ids=["nothing set", "spins set", "policy set"],
)
def test_a_stage_lets_waiting_threads_sleep_unless_the_user_says_otherwise(own: dict[str, str], expected: str) -> None:
    surroundings = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | own
    done = subprocess.run([sys.executable, "-c", SHOWN], cwd=ROOT / "pipeline", env=surroundings, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
