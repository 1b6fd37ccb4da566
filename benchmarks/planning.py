"""What it costs to ask whether anything is to be done: planning of 30 models, and a `dvc repro` of 30 models with nothing to do.

    python benchmarks/planning.py

The data is the shipped shapes, prepared for real; the 30 models are real entries of params.yaml, whose outputs are empty files that DVC takes for theirs
(`dvc commit`), so that nothing is trained. The result is `benchmarks/planning.json`: seconds, held against the limits beside them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
MODELS = 30
PLANNING_LIMIT_S, NOTHING_LIMIT_S = 2.0, 5.0
RUNS = 3
OUTPUTS = ("weights.pt", "model.json", "trained_on.json", "history.csv", "counts.npz", "metrics.json", "plots", "model.onnx", "parity.json", "registered.json")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="segline-benchmark-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        _write_parameters(clone / "params.yaml")
        environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
        _run("dvc", "repro", "plan", cwd=clone, environment=environment)
        planning = min(_seconds("python", "pipeline/plan.py", cwd=clone, environment=environment) for _ in range(RUNS))
        start = min(_seconds("python", "-c", "pass", cwd=clone, environment=environment) for _ in range(RUNS))
        _pretend(clone)
        _run("dvc", "commit", "--force", cwd=clone, environment=environment)
        nothing = min(_nothing_to_do(clone, environment) for _ in range(RUNS))
    result = {
        "models": MODELS,
        "planning": {"seconds_beyond_the_interpreter": round(planning - start, 2), "limit": PLANNING_LIMIT_S},
        "nothing_to_do": {"seconds": round(nothing, 2), "limit": NOTHING_LIMIT_S},
    }
    results.write(results.beside(__file__), result)


def _write_parameters(file: Path) -> None:
    """The shipped file with 30 models in place of its two."""
    yaml = YAML()
    values = yaml.load(file)
    shipped = dict(values["models"])
    values["models"] = {}
    for number in range(MODELS):
        name = list(shipped)[number % len(shipped)]
        values["models"][f"{name}_{number}"] = shipped[name]
    del values["promote"]
    yaml.dump(values, file)


def _pretend(clone: Path) -> None:
    for plan in (clone / "data" / "plan").iterdir():
        for name in OUTPUTS:
            output = clone / "models" / plan.name / name
            output.parent.mkdir(parents=True, exist_ok=True)
            if name == "plots":
                output.mkdir()
                output = output / "curve.csv"
            output.write_text("epoch,train_loss\n0,0\n" if output.suffix == ".csv" else "{}")


def _nothing_to_do(clone: Path, environment: dict[str, str]) -> float:
    start = time.monotonic()
    told = _run("dvc", "repro", cwd=clone, environment=environment)
    took = time.monotonic() - start
    assert "Data and pipelines are up to date." in told, told
    return took


def _seconds(*command: str, cwd: Path, environment: dict[str, str]) -> float:
    start = time.monotonic()
    _run(*command, cwd=cwd, environment=environment)
    return time.monotonic() - start


def _run(*command: str, cwd: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
