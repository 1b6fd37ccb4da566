"""Small parts for tests of the registry: ONNX models written by hand, and the model folder, prepared data and checkout around them.

The semantic model calls `bright` what is redder than its threshold. The images are ramps of red from 0 to 255, bright from 128 on by their truth, so the
threshold decides how good the model is: 127.5 is perfect, and the further away, the worse.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from segline import tracking
from segline.card import ModelCard
from segline.data.store import DatasetInfo, PreparedDataset
from segline.data.writer import SplitWriter
from segline.evaluation.evaluate import evaluate
from segline.evaluation.report import write_figures
from segline.inference.predict import load_predictor
from segline.layout import ModelFolder
from segline.metrics import catalog as metrics_catalog
from segline.provenance import digest, file_digest
from segline.tasks import catalog as tasks
from segline_runtime.specification import METADATA_KEY, ClassInfo, Geometry, ImageKind, Specification

PERFECT = 127.5
CLASSES = ("dark", "bright")
SPLIT_HASH = "a" * 64


def fresh_store(folder: Path) -> str:
    """An empty SQLite store in `folder`: a copy, as making its tables takes seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(_empty_database(), folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"


@cache
def _empty_database() -> Path:
    file = Path(tempfile.mkdtemp(prefix="segline-test-store-")) / "mlflow.db"
    atexit.register(shutil.rmtree, file.parent)
    tracking.connect(f"sqlite:///{file}")
    return file


def semantic_onnx(file: Path, threshold: float = PERFECT, classes: tuple[str, ...] = CLASSES) -> None:
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["values", "zero"], ["red"], axis=3),
        helper.make_node("Greater", ["red", "threshold"], ["above"]),
        helper.make_node("Cast", ["above"], ["class_ids"], to=TensorProto.UINT8),
        helper.make_node("Cast", ["above"], ["p1"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "p1"], ["p0"]),
        helper.make_node("Unsqueeze", ["p0", "axis"], ["c0"]),
        helper.make_node("Unsqueeze", ["p1", "axis"], ["c1"]),
        helper.make_node("Concat", ["c0", "c1"], ["probabilities"], axis=1),
    ]
    constants = {"zero": np.int64(0), "axis": np.array([1], dtype=np.int64), "one": np.float32(1), "threshold": np.float32(threshold)}
    outputs = {"class_ids": (TensorProto.UINT8, ["B", "H", "W"]), "probabilities": (TensorProto.FLOAT, ["B", 2, "H", "W"])}
    _write(file, nodes, constants, outputs, "semantic", classes)


def instance_onnx(file: Path) -> None:
    """Finds the same two objects in every image."""
    constants = {
        "boxes": np.array([[2, 3, 12, 13], [10, 5, 20, 15]], dtype=np.float32),
        "labels": np.array([1, 1], dtype=np.int64),
        "scores": np.array([0.5, 0.9], dtype=np.float32),
        "masks": np.ones((2, 28, 28), dtype=np.float32),
    }
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}
    nodes = [helper.make_node("Identity", [f"{name}_"], [name]) for name in constants]
    outputs = {name: (kinds[value.dtype], list(value.shape)) for name, value in constants.items()}
    _write(file, nodes, {f"{name}_": value for name, value in constants.items()}, outputs, "instance", CLASSES)


def multilabel_onnx(file: Path, threshold: float = PERFECT) -> None:
    """Calls a pixel `dark` where its green is above the threshold, and `bright` where its red is: it may be of both, and of none."""
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["values", "channels"], ["chosen"], axis=3),
        helper.make_node("Transpose", ["chosen"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["planes", "threshold"], ["logits"]),
        helper.make_node("Greater", ["planes", "threshold"], ["above"]),
        helper.make_node("Cast", ["above"], ["masks"], to=TensorProto.UINT8),
    ]
    constants = {"channels": np.array([1, 0], dtype=np.int64), "threshold": np.float32(threshold)}
    outputs = {"masks": (TensorProto.UINT8, ["B", 2, "H", "W"]), "logits": (TensorProto.FLOAT, ["B", 2, "H", "W"])}
    _write(file, nodes, constants, outputs, "multilabel", CLASSES)


def model_folder(
    path: Path,
    *,
    threshold: float = PERFECT,
    metrics: dict[str, float] | None = None,
    latency_ms: float = 5.0,
    dataset: str = "ramps",
    trained_on: Sequence[str] = ("0" * 16, "1" * 16),
    write: Callable[[Path], None] | None = None,
) -> ModelFolder:
    """A model's folder as train, evaluate and export leave it. `trained_on`: content hashes of its training images. `write`: another ONNX file.

    The rest of the folder is a semantic model's in any case.
    """
    folder = ModelFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    if write is None:
        semantic_onnx(folder.onnx, threshold)
    else:
        write(folder.onnx)
    card(path.name, threshold=threshold, dataset=dataset).write(folder.card)
    folder.history.write_text("epoch,loss\n0,0.5\n")
    folder.trained_on.write_text(json.dumps({"version": 1, "images": list(trained_on)}))
    split = {"split": "test", "split_hash": SPLIT_HASH, "images": 3}
    folder.metrics.write_text(json.dumps({"version": 1, **split, **(metrics or {"miou": 0.9, "mdice": 0.95, "iou/bright": 0.9})}))
    parity = {"passed": True, "latency": {"median_ms": latency_ms}, "sha256": file_digest(folder.onnx), "difference": 0.0, **split}
    folder.parity.write_text(json.dumps(parity))
    return folder


def evaluated(folder: ModelFolder, prepared: Path) -> ModelFolder:
    """The folder with the counts and figures of its ONNX model on prepared data, as `evaluate` leaves them."""
    dataset = PreparedDataset(prepared)
    predictor = load_predictor(folder.onnx)
    task, classes = tasks.get(predictor.specification.task), predictor.specification.classes
    split = dataset.split("test", task.truths)
    write_figures(
        evaluate(predictor.predict, split, task.scorer(classes)),
        metrics=[metrics_catalog.get(word) for word in task.metrics],
        classes=classes,
        resamples=100,
        split=split,
        split_hash=SPLIT_HASH,
        metrics_file=folder.metrics,
        counts=folder.counts,
    )
    return folder


def card(model: str, *, threshold: float = PERFECT, dataset: str = "ramps") -> ModelCard:
    """Of a trained semantic model; the threshold makes its key."""
    plan = {"version": 1, "seed": 0, "settings": {"arch": "unet", "input": {"size": [32, 32]}, "threshold": threshold}}
    return ModelCard(
        model=model,
        task="semantic",
        key=digest(plan)[:16],
        plan=plan,
        parts={"parameters": digest(plan), "data": "data", "code": "code"},
        specification=_specification("semantic", model, CLASSES),
        dataset=_info(dataset).to_dict(),
        versions={"numpy": "2"},
        commit="c0ffee",
        experiment=None,
        training={"metric": "miou", "best_epoch": 0, "best": 0.9, "epochs": 1, "seconds": 1.0, "device": "cpu", "precision": "fp32", "parameter_count": 1},
    )


def ramps(folder: Path) -> Path:
    """Three ramps of different sizes, `images/ramp0.png` …, and the truth about them, `masks/ramp0.png` …"""
    for i, (height, width) in enumerate([(32, 256), (40, 256), (33, 512)]):
        ramp = np.tile(np.linspace(0, 255, width).round().astype(np.uint8), (height, 1))
        image = np.stack([ramp, np.full_like(ramp, 40 * i), np.full_like(ramp, 90)], axis=2)
        for name, pixels in (("images", image), ("masks", (ramp > 127).astype(np.uint8))):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name / f"ramp{i}.png")
    return folder


def prepared(path: Path, classes: tuple[str, ...] = CLASSES) -> Path:
    """Prepared data whose test split holds the ramps; what was there is replaced."""
    shutil.rmtree(path, ignore_errors=True)
    writer = SplitWriter(path / "test", ("index",))
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted((ramps(Path(folder)) / "images").iterdir()):
            mask = np.asarray(Image.open(Path(folder) / "masks" / file.name))
            writer.add(file.stem, file.suffix, file.read_bytes(), (mask.shape[0], mask.shape[1]), mask, ())
    writer.finish()
    (path / "dataset.json").write_text(json.dumps(_info("ramps", classes).to_dict()))
    return path


def checkout(root: Path, promote: dict[str, object] | None = None) -> Path:
    """A folder that `segline` takes for a checkout, with prepared data and the model `unet`, of the data set `ramps`."""
    root.mkdir(parents=True, exist_ok=True)
    prepared(root / "data" / "prepared")
    settings = {"data": {"source": "shapes", "name": "ramps"}, "models": {"unet": {"arch": "unet"}}, "promote": {"unet": promote or {"at_least": 0.5}}}
    (root / "params.yaml").write_text(yaml.safe_dump(settings))
    (root / "dvc.yaml").write_text("stages: {}\n")
    return root


def _specification(task: str, model: str, classes: tuple[str, ...]) -> Specification:
    infos = tuple(ClassInfo(i, name, (80 * i, 200, 30), i > 0) for i, name in enumerate(classes))
    return Specification(task, model, "ramps", infos, Geometry("stretch", (32, 32)), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def _info(name: str, classes: tuple[str, ...] = CLASSES) -> DatasetInfo:
    zeros = (0,) * len(classes)
    return DatasetInfo(
        name=name,
        classes=_specification("semantic", "unet", classes).classes,
        image=ImageKind(),
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        class_pixels=zeros,
        class_image_pixels=zeros,
        counts={"train": 0, "val": 0, "test": 3},
        instance_counts={},
        truths=("index",),
        fingerprint="f",
        split_hashes={"test": SPLIT_HASH},
        licence="none",
    )


def _write(file: Path, nodes: list, constants: dict, outputs: dict, task: str, classes: tuple[str, ...]) -> None:  # type: ignore[type-arg]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["B", "H", "W", 3])
    named = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()]
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    model = helper.make_model(helper.make_graph(nodes, task, [images], named, initial), opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: _specification(task, "unet", classes).to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, file)
