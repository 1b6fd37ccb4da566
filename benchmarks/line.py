"""Run the whole line for one parameter file in a clone of this checkout, and write down what it took and what it reached.

    python benchmarks/line.py params.yaml
    python benchmarks/line.py examples/camvid.yaml [/data/camvid]    # a public data set, from data.mirror

The result is `benchmarks/line-<name>.json`: seconds per stage and of a second `dvc repro` with nothing to do, metrics, parity and training summary of each
model, machine, commit. Absolute times are of that machine on that day; they are held against the limits beside them, no more.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import results
from ruamel.yaml import YAML

from segline.data.sources import is_public
from segline.provenance import commit

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("miou", "mdice", "pixel_accuracy", "pixel_error", "mask_ap", "mask_ap50", "box_ap", "box_ap50")


def main(parameters: Path, mirror: str | None = None) -> None:
    load_before = results.load()
    name = "shipped" if parameters.name == "params.yaml" else parameters.stem
    with tempfile.TemporaryDirectory(prefix="segline-benchmark-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        cloned = commit(clone)
        write_parameters(parameters, clone / "params.yaml", mirror)
        environment = environment_of(clone)
        stages = repro(clone, environment)
        start = time.monotonic()
        again = subprocess.run(["dvc", "repro"], cwd=clone, env=environment, capture_output=True, text=True, check=True)
        nothing = time.monotonic() - start
        assert "Data and pipelines are up to date." in again.stdout, again.stdout
        result = {
            "parameters": parameters.resolve().relative_to(ROOT).as_posix(),
            "commit": cloned,  # this checkout may have gone on meanwhile
            "load_before": load_before,
            "seconds": {stage: round(seconds, 1) for stage, seconds in stages.items()},
            "seconds_in_all": round(sum(stages.values()), 1),
            "seconds_with_nothing_to_do": round(nothing, 1),
            "models": {model.name: model_of(model) for model in sorted((clone / "models").iterdir()) if model.is_dir()},
        }
    results.write(ROOT / "benchmarks" / f"line-{name}.json", result)


def environment_of(clone: Path) -> dict[str, str]:
    """In which the stages run: without what the caller's shell says about servers and threads, since that would be measured, too."""
    environment = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "OMP_NUM_THREADS")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    environment["PYTHONPATH"] = str(clone / "src")
    return environment


def write_parameters(source: Path, target: Path, mirror: str | None) -> None:
    """The same parameters, with a folder of images that counts from this checkout, or the place of a public data set."""
    yaml = YAML()
    values = yaml.load(source)
    if is_public(values["data"]["source"]):
        if mirror is not None:
            values["data"]["mirror"] = mirror
    elif values["data"]["source"] != "shapes":
        values["data"]["source"] = str((ROOT / "data" / values["data"]["source"]).resolve())
    yaml.dump(values, target)


def repro(clone: Path, environment: dict[str, str], keep: Callable[[dict[str, float]], None] = lambda _stages: None) -> dict[str, float]:
    """Run `dvc repro`; seconds per stage, from one stage's first line to the next one's; the first includes DVC's own start. `keep` is called as they end, and
    where the run is broken off.
    """
    stages: dict[str, float] = {}
    current, since = "dvc", time.monotonic()
    try:
        with subprocess.Popen(["dvc", "repro"], cwd=clone, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                if begun := re.match(r"Running stage '([^']+)'", line):
                    now = time.monotonic()
                    stages[current] = stages.get(current, 0.0) + now - since
                    current, since = begun[1], now
                    keep(stages)
    finally:
        stages[current] = time.monotonic() - since
        keep(stages)
    if process.returncode:
        sys.exit(process.returncode)
    return stages


def model_of(folder: Path) -> dict[str, Any]:
    metrics = json.loads((folder / "metrics.json").read_text())
    parity = json.loads((folder / "parity.json").read_text())
    card = json.loads((folder / "model.json").read_text())
    return {
        "split": metrics["split"],
        "images": metrics["images"],
        "metrics": {key: round(metrics[key], 4) for word in SHOWN for key in (word, f"{word}_low", f"{word}_high") if key in metrics},
        "parity": {"metric": parity["metric"], "difference": parity["difference"], "worst": parity["worst"], "latency": parity["latency"]},
        "training": card["training"],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
