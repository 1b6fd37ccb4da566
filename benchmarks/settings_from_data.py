"""What params.yaml leaves to the data against what somebody wrote: one shipped file, and the same with `auto` wherever that can be said; figures and time.

    python benchmarks/settings_from_data.py params.yaml
    python benchmarks/settings_from_data.py examples/camvid.yaml --mirror /data/camvid --work /scratch/auto
    python benchmarks/settings_from_data.py examples/isbi2012.yaml --over here.yaml     # with the keys of here.yaml upon it: data that lies otherwise …
    python benchmarks/settings_from_data.py params.yaml --tiny      # few images and one epoch each: does it run?

Both run the whole line, each in a clone of this checkout below `--work`. Where `auto` decides all that was written, their plans are equal, and so would be
their trainings: then none is run, and `line.py` has the figures. Who interrupts it and gives the same command again goes on: stages that are done are not run
again, a training goes on after its last epoch, and the time of both attempts counts. The result is the file's entry in `benchmarks/settings_from_data.json`:
what was decided and why, seconds per stage, figures of each model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import line
import results
from clone import Clone, merged
from ruamel.yaml import YAML

from segline.models import catalog as architectures
from segline.models.settings import ModelSettings
from segline.plain_yaml import load
from segline.provenance import commit

ROOT = Path(__file__).resolve().parents[1]
WRITTEN, AUTO = "written", "auto"
TINY = {"train": 16, "val": 4, "test": 4}
FIGURES = ("miou", "mask_ap", "mask_ap50")


def automatic(values: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a params.yaml with `auto` wherever it can be said. Who cuts images into tiles has decided about the geometry."""
    found = deepcopy(dict(values))
    for entry in found["models"].values():
        kind = architectures.settings(entry["arch"])
        if not issubclass(kind, ModelSettings):
            continue
        given = entry.get("input", {})
        if "tile" not in given and given.get("fit") != "native":
            entry["input"] = {key: value for key, value in given.items() if key != "size"} | {"fit": "auto"}
        entry["train"] = {**entry.get("train", {}), "epochs": "auto", "batch_size": "auto"}
        if "anchors" in kind.model_fields:
            entry["anchors"] = "auto"
        term = entry.get("loss", {}).get("cross_entropy")
        if term is not None:
            entry["loss"]["cross_entropy"] = {**(term if isinstance(term, dict) else {"weight": term}), "class_weights": "auto"}
    return found


def smallest(values: Mapping[str, Any]) -> dict[str, Any]:
    """With few generated images, and one epoch."""
    found = deepcopy(dict(values))
    if found["data"]["source"] != "shapes":
        sys.exit("--tiny is for params.yaml, whose images are generated.")
    found["data"] |= TINY
    for entry in found["models"].values():
        entry["train"] = {**entry.get("train", {}), "epochs": 1}
    return found


def planned(parameters: Path, variant: str, folder: Path, *, mirror: str | None, over: Mapping[str, Any], tiny: bool) -> Path:
    """The clone of one of the two, with its plans."""
    clone = folder / "clone"
    if not clone.is_dir():
        Clone(clone).make()
        line.write_parameters(parameters, clone / "params.yaml", mirror)
        values = merged(load(clone / "params.yaml"), over)
        values = automatic(values) if variant == AUTO else values
        YAML().dump(smallest(values) if tiny else values, clone / "params.yaml")
    subprocess.run(["dvc", "repro", "-q", "plan"], cwd=clone, env=line.environment_of(clone), check=True)
    return clone


def plans(clone: Path) -> dict[str, str]:
    """Of all models, by what they are trained."""
    return {file.parent.name: file.read_text() for file in sorted((clone / "data" / "plan").glob("*/train.json"))}


def both(clones: Mapping[str, Path], *, side_by_side: bool) -> dict[str, Any]:
    """What `run` gives for each."""
    if not side_by_side:
        return {variant: run(clone) for variant, clone in clones.items()}
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < len(clones):
        sys.exit(f"--side-by-side needs {len(clones)} cores, and this process may use {len(cores)}.")
    with ThreadPoolExecutor(len(clones)) as pool:
        begun = {variant: pool.submit(run, clone, core) for (variant, clone), core in zip(clones.items(), cores, strict=False)}
        return {variant: one.result() for variant, one in begun.items()}


def run(clone: Path, core: int | None = None) -> dict[str, Any]:
    """Seconds per stage and the models' figures of one of the two, from where it stopped. core: the one to run on; default: all."""
    if core is not None:
        os.sched_setaffinity(0, {core})  # of this thread, and of the processes that it starts
    timed = clone.parent / "seconds.json"
    before: Counter[str] = Counter(json.loads(timed.read_text())) if timed.is_file() else Counter()

    def keep(stages: Mapping[str, float]) -> None:
        timed.write_text(json.dumps(before + Counter(stages)))

    stages = before + Counter(line.repro(clone, line.environment_of(clone), keep))
    models = sorted(path for path in (clone / "models").iterdir() if (path / "metrics.json").is_file())
    return {
        "commit": commit(clone),
        "seconds": {stage: round(seconds, 1) for stage, seconds in stages.items()},
        "seconds_of_training": round(sum(seconds for stage, seconds in stages.items() if stage.startswith("train@")), 1),
        "models": {model.name: line.model_of(model) for model in models},
        "decided": decided(clone),
    }


def decided(clone: Path) -> dict[str, Any]:
    """What the plan took from the data, by model."""
    found = {}
    for file in sorted((clone / "data" / "plan").glob("*/decisions.json")):
        found[file.parent.name] = {one["key"]: {"value": one["value"], "reason": one["reason"]} for one in json.loads(file.read_text())}
    return found


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Figures of both, side by side."""
    rows = [f"{'model':16s} {'figure':10s} {WRITTEN:>9s} {AUTO:>9s}"]
    written, auto = found[WRITTEN], found[AUTO]
    for name, model in written["models"].items():
        other = auto["models"][name]
        for figure in FIGURES:
            if figure in model["metrics"]:
                rows.append(f"{name:16s} {figure:10s} {model['metrics'][figure]:9.4f} {other['metrics'][figure]:9.4f}")
        rows.append(f"{name:16s} {'seconds':10s} {written['seconds'].get(f'train@{name}', 0):9.1f} {auto['seconds'].get(f'train@{name}', 0):9.1f}")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("parameters", type=Path)
    parser.add_argument("--mirror", help="where the files of a public data set are")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "segline-settings-from-data")
    parser.add_argument("--tiny", action="store_true", help="few images and one epoch; no result is written")
    parser.add_argument("--side-by-side", action="store_true", help="both at once, each on a core of its own; else one after the other, on all cores")
    parser.add_argument("--name", help="of the entry; default: the file's own")
    parser.add_argument("--over", type=Path, help="a YAML file with keys that count in place of the file's own; null takes one away")
    given = parser.parse_args()
    work = given.work / "tiny" if given.tiny else given.work
    name = given.name or given.parameters.stem
    over = load(given.over) if given.over else {}
    clones = {}
    for variant in (WRITTEN, AUTO):
        clones[variant] = planned(given.parameters, variant, work / f"{name}-{variant}", mirror=given.mirror, over=over, tiny=given.tiny)
    same = plans(clones[WRITTEN]) == plans(clones[AUTO])
    if same:
        found = {AUTO: {"decided": decided(clones[AUTO])}}
        print("auto decides all that was written: the plans are equal, and so would be the trainings.")
    else:
        found = both(clones, side_by_side=given.side_by_side)
        print(table(found))
    if not given.tiny:
        target = results.beside(__file__)
        before = json.loads(target.read_text()).get("sets", {}) if target.is_file() else {}
        results.write(target, {"sets": before | {name: {**results.surroundings(), "same_plans": same, "side_by_side": given.side_by_side, **found}}})


if __name__ == "__main__":
    main()
