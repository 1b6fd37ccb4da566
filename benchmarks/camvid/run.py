"""Every architecture on CamVid under one budget of training time: trained by the line's own stages, scored on `val`, one row each.

    python benchmarks/camvid/run.py --camvid <folder in the SegNet layout> --encoder <tf_efficientnet_lite0.pth> [row ...]
    python benchmarks/camvid/run.py … --file ablation.yaml      # what each step of a good training gains

`rows.yaml` beside this file holds what is trained: the settings that all rows share, and what each has of its own; in `ablation.yaml`, what each has beside
the one before it. A row that stands in the results with the settings of today is not trained again; one that was cut off goes on where it stopped. All work is
done in a clone of the commit, in `--work`. `val` is scored and steers nothing: a part of train is held out for that. The budget of `rows.yaml` is 40 minutes
of one core (20 minutes of two) per training; its epochs are chosen for it. `--core N` runs on one core, so that two calls with a `--work` of their own train
side by side. Writes `rows.json` and `rows.md` beside itself, or those of the other file.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from clone import Clone, Kept, core_seconds, identity, merged, use_one_core  # noqa: E402

from segline.errors import told_in_sentences  # noqa: E402
from segline.files import whole  # noqa: E402
from segline.machine import cores  # noqa: E402
from segline.provenance import versions  # noqa: E402

STAGES = ("params", "download", "prepare", "plan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="which rows; default: all, in their order")
    parser.add_argument("--file", default="rows.yaml", help="beside this one")
    parser.add_argument("--camvid", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("camvid-work"))
    parser.add_argument("--core", type=int, help="the one core to run on; default: all")
    given = parser.parse_args()
    if given.core is not None:
        use_one_core(given.core)
    rows = _rows(HERE / given.file, given.encoder.resolve())
    kept = Kept((HERE / given.file).with_suffix(".json"))
    for unknown in sorted(set(given.rows) - set(rows)):
        sys.exit(f"There is no row '{unknown}' in {given.file}; there are {', '.join(rows)}.")
    wanted = [name for name in (given.rows or rows) if not kept.has(name, identity(rows[name]))]
    if wanted:
        clone = _clone(given.work.resolve(), given.camvid.resolve(), {name: rows[name] for name in wanted})
        for name in wanted:
            kept.keep(name, _measured(clone, name, rows[name]))
    _table(rows, kept)


def _rows(file: Path, encoder: Path) -> dict[str, dict[str, Any]]:
    """An entry of `models:` for each row, or for each step."""
    content = YAML(typ="safe").load(file.read_text().replace("ENCODER", str(encoder)))
    found = {name: merged(content["shared"], row) for name, row in content.get("rows", {}).items()}
    step = content["shared"]
    for name, change in content.get("steps", {}).items():
        step = merged(step, change)
        found[name] = step
    return found


def _clone(work: Path, camvid: Path, rows: dict[str, Any]) -> Clone:
    """A clone of this checkout's commit with these rows as its models, planned."""
    clone = Clone(work / "clone")
    clone.make()
    clone.write_params(
        {
            "seed": 0,
            "data": {"source": str(camvid), "format": "camvid", "name": "camvid"},
            "models": rows,
            "evaluate": {"overlays": 4},
            "export": {},
            "promote": {},
        }
    )
    for stage in STAGES:
        clone.stage(stage)
    return clone


def _measured(clone: Clone, name: str, row: dict[str, Any]) -> dict[str, Any]:
    before = core_seconds()
    clone.stage("train", name)
    trained = core_seconds() - before
    clone.stage("evaluate", name)
    folder = clone.folder / "models" / name
    metrics = json.loads((folder / "metrics.json").read_text())
    training = json.loads((folder / "model.json").read_text())["training"]
    return {
        "arch": row["arch"],
        "settings": identity(row),
        "commit": clone.commit,
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


def _table(rows: dict[str, Any], kept: Kept) -> None:
    results = kept.read()
    lines = [
        "| row | arch | mIoU on val | pole | sign | bicyclist | parameters | epochs | core minutes | commit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
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
    with whole(kept.file.with_suffix(".md")) as file:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with told_in_sentences():
        main()
