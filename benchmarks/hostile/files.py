"""Files that Segline wrote, damaged by hand or by a broken disk, read and used by what reads them. Usage: python benchmarks/hostile/files.py"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from campaign import ROOT, Case, in_one_process, write
from mutations import ODD_VALUES, damaged_bytes, damaged_tree

sys.path.insert(0, str(ROOT / "tests"))
import factories

from segline import history
from segline.data.manifest import Manifest
from segline.data.store import PreparedDataset
from segline.drawing.curves import history_picture
from segline.layout import DataPlanFolder, ModelFolder, PlanFolder
from segline.metrics import catalog, counts_file
from segline.metrics.figures import figures
from segline.plan import data as data_plan
from segline.plan import plans
from segline.plan.data import data_plans
from segline.registry import Receipt
from segline.registry.registering import _origin, _read, _worth
from segline.tasks import catalog as tasks
from segline.tracking import contents, runs
from segline.training import resume
from segline_runtime.predictions import InstancePrediction, SemanticPrediction

MODELS = {"unet": "semantic", "maskrcnn": "instance"}

Use = Callable[[Path], object]
"""Reads a file below the folder that `made` makes, and does what the line does with it."""


def made(root: Path) -> None:
    """A checkout's files, as the stages leave them, but for weights, pictures and ONNX."""
    dataset = factories.shapes_dataset(root / "data")
    prepared = root / "prepared"
    shutil.copytree(dataset.folder, prepared)
    dataset = PreparedDataset(prepared)
    for name, task in MODELS.items():
        folder, golden = ModelFolder(root / "models" / name), ROOT / "tests" / "golden" / "v1" / "models" / name
        made_plans = factories.plans(name, factories.settings(name), dataset)
        target = PlanFolder(root / "plan" / name)
        for plan, file in (
            (made_plans.train, target.train),
            (made_plans.evaluate, target.evaluate),
            (made_plans.export, target.export),
            (made_plans.register, target.register),
        ):
            plans.write(plan, file)
        factories.untrained(folder, made_plans.train, dataset)
        folder.weights.unlink()
        for file in (folder.metrics, folder.parity):
            shutil.copy(golden / file.name, file)
        receipt = Receipt(f"shapes-{name}", 1, "0" * 64, "f" * 32, "sqlite:///mlflow.db")
        folder.receipt.write_text(json.dumps(receipt.to_dict()))
        _count(dataset, task, folder.counts)
        with resume.claimed(root / "resume", name, "key", {"data": "a", "code": "b"}) as claimed:
            shutil.copytree(claimed, root / "left" / f"{name}-key")
            (root / "left" / f"{name}-key" / resume.CHECKPOINT).write_bytes(b"")
    folder = DataPlanFolder(root / "data_plan")
    folder.path.mkdir()
    params = factories.params_of({"unet": factories.settings("unet")})
    for plan, file in zip(data_plans(params, factories.code()), (folder.download, folder.prepare), strict=True):
        plan.write(file)
    Manifest.of("folder", "coco", prepared, [Path("dataset.json"), Path("check.json")]).write(root)


def _count(dataset: PreparedDataset, task: str, file: Path) -> None:
    """Counts of a perfect prediction."""
    light = tasks.get(task)
    scorer = light.scorer(dataset.info.classes)
    for sample in dataset.split("test", light.truths):
        if sample.mask is not None:
            scorer.add(SemanticPrediction(sample.mask), sample)
        else:
            objects = sample.instances
            assert objects is not None
            scorer.add(InstancePrediction(np.ones(len(objects), np.float32), objects.labels, objects.boxes, objects.masks), sample)
    counts_file.save(scorer.counts(), file)


def _card(root: Path, name: str) -> None:
    found = contents.read(ModelFolder(root / "models" / name))
    card = found.card
    assert card.registered_name and card.data_hash and card.code
    json.dumps([runs._tags(found), runs._parameters(card)])
    _origin(card, ModelFolder(root / "models" / name), "digest", "runtime", None)


def _figures(root: Path, name: str) -> None:
    folder = ModelFolder(root / "models" / name)
    contents.read(folder)
    json.dumps(_worth(folder, _read(folder.metrics, "evaluate"), _read(folder.parity, "export")))


def _history(root: Path, name: str) -> None:
    folder = ModelFolder(root / "models" / name)
    rows = history.read(folder.history)
    contents.read(folder)
    history_picture(rows, tasks.get(MODELS[name]).metric, root / "curves.png")


def _counts(root: Path, name: str) -> None:
    counts = counts_file.load(ModelFolder(root / "models" / name).counts)
    classes = PreparedDataset(root / "prepared").info.classes
    if [info.name for info in classes] != list(counts.classes):
        return  # promotion asks the same
    words = [word for word in catalog.METRICS if catalog.get(word).counts == counts.kind]
    figures(counts, [catalog.get(word) for word in words], classes)
    counts.select([0])


def _plan(root: Path, name: str, stage: str) -> None:
    folder = PlanFolder(root / "plan" / name)
    if stage == "train":
        plan = plans.read(plans.TrainPlan, folder.train)
        assert plan.key and plan.parts
    else:
        kinds = {"evaluate": (plans.EvaluatePlan, folder.evaluate), "export": (plans.ExportPlan, folder.export)}
        plans.read(*kinds.get(stage, (plans.RegisterPlan, folder.register))).to_json()  # type: ignore[arg-type]


def _prepared(root: Path) -> None:
    dataset = PreparedDataset(root / "prepared")
    for name in MODELS:
        factories.plans(name, factories.settings(name), dataset)
    for split in ("train", "val", "test"):
        samples = dataset.split(split, dataset.info.truths)
        samples.hashes()
        for sample in samples:
            assert sample.instances is None or len(sample.instances.masks) == len(sample.instances)


def _resumed(root: Path, name: str) -> None:
    resume.why_afresh(root / "left", name, "other", {"data": "a", "code": "c"})
    resume._owner(root / "left" / f"{name}-key" / "owner.json")


def targets(root: Path) -> dict[str, Use]:
    """Path of a file → its use."""
    found: dict[str, Use] = {
        "prepared/dataset.json": _prepared,
        "manifest.json": lambda root: Manifest.read(root).changed(root / "prepared"),
        "data_plan/download.json": lambda root: data_plan.read(root / "data_plan" / "download.json").write(root / "again.json"),
        "data_plan/prepare.json": lambda root: data_plan.read(root / "data_plan" / "prepare.json").write(root / "again.json"),
    }
    for split in ("train", "test"):
        folder = root / "prepared" / split
        for file in (folder / "split.json", *sorted(folder.glob("*.arrow"))):
            found[file.relative_to(root).as_posix()] = _prepared
    for name in MODELS:
        found |= {f"plan/{name}/{stage}.json": partial(_plan, name=name, stage=stage) for stage in ("train", "evaluate", "export", "register")}
        found |= {f"models/{name}/{file}": partial(_card, name=name) for file in ("model.json", "trained_on.json")}
        found |= {f"models/{name}/{file}": partial(_figures, name=name) for file in ("metrics.json", "parity.json")}
        found[f"models/{name}/history.csv"] = partial(_history, name=name)
        found[f"models/{name}/counts.npz"] = partial(_counts, name=name)
        found[f"models/{name}/registered.json"] = lambda root, name=name: Receipt.read(root / "models" / name / "registered.json")
        found |= {f"left/{name}-key/{file}": partial(_resumed, name=name) for file in ("identity.json", "owner.json")}
    return found


def damaged(content: bytes, suffix: str, random: np.random.Generator) -> tuple[bytes, str]:
    """The content of a file, damaged in a way that its kind allows, and how."""
    if suffix == ".json" and random.integers(0, 3):
        tree, place = damaged_tree(json.loads(content), random)
        return json.dumps(tree).encode(), place
    if suffix == ".csv" and random.integers(0, 2):
        rows = [line.split(",") for line in content.decode().splitlines()]
        row = rows[int(random.integers(0, len(rows)))]
        column = int(random.integers(0, len(row)))
        row[column] = str(ODD_VALUES[int(random.integers(0, len(ODD_VALUES)))])
        return "\n".join(",".join(cells) for cells in rows).encode(), f"a cell is {row[column][:40]!r}"
    if suffix == ".npz" and random.integers(0, 2):
        return _other_array(content, random)
    return damaged_bytes(content, random), "bytes"


def _other_array(content: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    with np.load(io.BytesIO(content)) as archive:
        arrays = dict(archive)
    name = sorted(arrays)[int(random.integers(0, len(arrays)))]
    one = arrays[name]
    changes = (
        one.ravel()[:-1],
        np.concatenate([one.ravel(), one.ravel()]),
        one.astype(np.str_),
        np.zeros((0, 3)),
        np.array(-1),
        one.ravel()[::-1].copy(),
        None,
    )
    chosen = int(random.integers(0, len(changes)))
    arrays[name] = changes[chosen]  # type: ignore[assignment]
    if changes[chosen] is None:
        del arrays[name]
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue(), f"array {name}, change {chosen}"


def cases(root: Path, number: int, seed: int) -> Iterator[Case]:
    """`root`: what `made` has made."""
    uses = targets(root)
    names = sorted(uses)
    for i in range(number):
        random = np.random.default_rng([seed, i])
        name = names[i % len(names)]
        content, how = damaged((root / name).read_bytes(), Path(name).suffix, random)
        yield f"{seed}/{i}: {name}, {how}", partial(_tried, root, name, content, uses[name])


def _tried(root: Path, name: str, content: bytes, use: Use) -> None:
    before = (root / name).read_bytes()
    (root / name).write_bytes(content)
    try:
        use(root)
    finally:
        (root / name).write_bytes(before)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cases", type=int, default=2400)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made(Path(folder))
        for use in targets(Path(folder)).values():
            use(Path(folder))  # what is not damaged is read
        write("files", in_one_process(cases(Path(folder), given.cases, given.seed)), seed=given.seed)


if __name__ == "__main__":
    main()
