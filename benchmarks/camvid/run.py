"""Every architecture on CamVid under one budget of training time: trained by the line's own stages, scored on `val`, one row each.

    python benchmarks/camvid/run.py --camvid <folder in the SegNet layout> --encoder <tf_efficientnet_lite0.pth> [row ...]

`rows.yaml` beside this file holds what is trained: the settings that all rows share, and what each has of its own. A row that stands in `results.json` with the
settings of today is not trained again; one that was cut off goes on where it stopped. All work is done in a clone of the commit, in `--work`.
`val` is scored and steers nothing: a part of train is held out for that. The budget is 40 minutes of one core (20 minutes of two) per training; the epochs
in `rows.yaml` are chosen for it. `--core N` runs on one core, so that two calls with a `--work` of their own train side by side.
Writes `results.json` and `table.md` beside itself.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from ruamel.yaml import YAML

from segline.files import whole, write_json
from segline.machine import cores
from segline.provenance import commit, digest, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results.json"
STAGES = ("params", "download", "prepare", "plan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="which rows; default: all, in the order of rows.yaml")
    parser.add_argument("--camvid", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("camvid-work"))
    parser.add_argument("--core", type=int, help="the one core to run on; default: all")
    given = parser.parse_args()
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
        os.environ["OMP_NUM_THREADS"] = "1"
    rows = _rows(given.encoder.resolve())
    for unknown in sorted(set(given.rows) - set(rows)):
        sys.exit(f"There is no row '{unknown}' in rows.yaml; there are {', '.join(rows)}.")
    wanted = [name for name in (given.rows or rows) if not _done(name, rows[name])]
    if wanted:
        clone = _clone(given.work.resolve(), given.camvid.resolve(), {name: rows[name] for name in wanted})
        for name in wanted:
            _keep(name, _measured(clone, name, rows[name]))
    _table(rows)


def _rows(encoder: Path) -> dict[str, dict[str, Any]]:
    """An entry of `models:` for each row."""
    text = (HERE / "rows.yaml").read_text().replace("ENCODER", str(encoder))
    file = YAML(typ="safe").load(text)
    return {name: _merged(file["shared"], row or {}) for name, row in file["rows"].items()}


def _merged(base: Any, over: Any) -> Any:
    """`over` key by key upon `base`; lists and plain values are replaced."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return deepcopy(over)
    both = deepcopy(base)
    for key, value in over.items():
        both[key] = _merged(both[key], value) if key in both else deepcopy(value)
    return {key: value for key, value in both.items() if value is not None}


def _settings(row: dict[str, Any]) -> str:
    """Identifies a row's settings, wherever the weight file lies."""
    weights = str(row.get("weights", ""))
    return digest({**row, "weights": Path(weights).name})[:16]


def _results() -> dict[str, Any]:
    return dict(json.loads(RESULTS.read_text())) if RESULTS.exists() else {}


def _done(name: str, row: dict[str, Any]) -> bool:
    return bool(_results().get(name, {}).get("settings") == _settings(row))


def _keep(name: str, result: dict[str, Any]) -> None:
    with FileLock(RESULTS.with_suffix(".lock")):
        write_json(RESULTS, _results() | {name: result})


def _clone(work: Path, camvid: Path, rows: dict[str, Any]) -> Path:
    """A clone of this checkout's commit with these rows as its models, planned."""
    clone = work / "clone"
    if not clone.exists():
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    YAML().dump(
        {
            "seed": 0,
            "data": {"source": str(camvid), "format": "camvid", "name": "camvid"},
            "models": rows,
            "evaluate": {"overlays": 4},
            "export": {},
            "promote": {},
        },
        clone / "params.yaml",
    )
    for stage in STAGES:
        _stage(clone, stage)
    return clone


def _stage(clone: Path, stage: str, *arguments: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(clone / "src"), "PYTHONUNBUFFERED": "1"}
    subprocess.run([sys.executable, f"pipeline/{stage}.py", *arguments], cwd=clone, env=environment, check=True)


def _measured(clone: Path, name: str, row: dict[str, Any]) -> dict[str, Any]:
    before = _core_seconds()
    _stage(clone, "train", name)
    trained = _core_seconds() - before
    _stage(clone, "evaluate", name)
    folder = clone / "models" / name
    metrics = json.loads((folder / "metrics.json").read_text())
    training = json.loads((folder / "model.json").read_text())["training"]
    return {
        "arch": row["arch"],
        "settings": _settings(row),
        "commit": commit(clone),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "split": metrics["split"],
        "images": metrics["images"],
        **{key: round(metrics[key], 4) for key in ("miou", "miou_low", "miou_high", "pixel_accuracy")},
        "classes": {key.removeprefix("iou/"): round(metrics[key], 3) for key in metrics if key.startswith("iou/")},
        "minutes": round(training["seconds"] / 60, 1),
        "core_minutes": round(trained / 60, 1),  # of this call; a training that went on has cost more
        "epochs": training["epochs"],
        "best_epoch": training["best_epoch"],
        "precision": training["precision"],
        "parameters": training["parameter_count"],
        "cores": cores(),
        "versions": versions(),
    }


def _core_seconds() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _table(rows: dict[str, Any]) -> None:
    results = _results()
    lines = ["| row | arch | mIoU on val | pole | sign | bicyclist | parameters | epochs | core minutes | commit |", "|---|---|---|---|---|---|---|---|---|---|"]
    for name in rows:
        found = results.get(name)
        if found is None:
            continue
        thin = " | ".join(f"{found['classes'].get(word, 0):.2f}" for word in ("pole", "sign", "bicyclist"))
        interval = f"{found['miou']:.3f} ({found['miou_low']:.3f}–{found['miou_high']:.3f})"
        lines.append(
            f"| {name} | {found['arch']} | {interval} | {thin} | {found['parameters'] / 1e6:.1f} M | {found['epochs']} | {found['core_minutes']} "
            f"| {found['commit'][:8]} |"
        )
    with whole(HERE / "table.md") as file:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
