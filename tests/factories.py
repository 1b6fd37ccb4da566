"""Small real parts for tests: prepared data, plans, model folders as `train` leaves them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segline.card import ModelCard
from segline.data import extents
from segline.data.download import download
from segline.data.formats.base import SourceObject
from segline.data.images import png
from segline.data.prepare import prepare
from segline.data.sources import Shapes
from segline.data.store import IGNORE, DatasetInfo, ImageSizes, PreparedDataset
from segline.data.writer import SplitWriter
from segline.layout import ModelFolder
from segline.models import catalog as architectures
from segline.models.settings import ModelSettings
from segline.params import Evaluate, Export, Params, Tracking
from segline.plan import plans as written
from segline.plan.code import Code
from segline.plan.resolve import ModelPlans, resolve
from segline.tasks import catalog as tasks
from segline.training.settings import Runtime
from segline.training.train import card_of, specification_of
from segline_runtime.specification import ClassInfo, ImageKind

ROOT = Path(__file__).resolve().parents[1]

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"arch": "unet", "encoder": "mobilenet_v2", "input": {"size": [64, 64]}},
    "unetplusplus": {"arch": "unetplusplus", "encoder": "mobilenet_v2", "input": {"size": [64, 64]}},
    "fpn": {"arch": "fpn", "encoder": "mobilenet_v2", "pyramid_channels": 32, "decoder_channels": 64, "input": {"size": [64, 64]}},
    "deeplabv3": {"arch": "deeplabv3", "encoder": "mobilenet_v2", "decoder_channels": 48, "auxiliary": 0.5, "input": {"size": [64, 64]}},
    "deeplabv3plus": {"arch": "deeplabv3plus", "encoder": "mobilenet_v2", "decoder_channels": 48, "input": {"size": [64, 64]}},
    "pspnet": {"arch": "pspnet", "encoder": "mobilenet_v2", "decoder_channels": 32, "input": {"size": [64, 64]}},
    "upernet": {"arch": "upernet", "encoder": "mobilenet_v2", "decoder_channels": 48, "auxiliary": 0.4, "input": {"size": [64, 64]}},
    "segformer": {"arch": "segformer", "encoder": "mit_b0", "decoder_channels": 32, "input": {"size": [64, 64]}},
    "hrnet": {"arch": "hrnet", "encoder": "tu-hrnet_w18_small", "input": {"size": [64, 64]}},
    "maskrcnn": {
        "arch": "maskrcnn",
        "encoder": "mobilenet_v3_small",
        "input": {"size": [64, 64]},
        "proposals": {"train_before_nms": 50, "train_after_nms": 20, "test_before_nms": 50, "test_after_nms": 10, "rpn_batch": 16, "box_batch": 8},
        "predict": {"max_detections": 10},
    },
    "fcn32s": {"arch": "fcn32s", "width": 4, "input": {"size": [64, 64]}},
    "fcn16s": {"arch": "fcn16s", "width": 4, "input": {"size": [64, 64]}},
    "fcn8s": {"arch": "fcn8s", "width": 4, "input": {"size": [64, 64]}},
    "segnet": {"arch": "segnet", "width": 4, "input": {"size": [64, 64]}},
    "unet_2015": {"arch": "unet_2015", "width": 4, "input": {"size": [64, 64]}},
    "tiramisu56": {"arch": "tiramisu56", "first_filters": 8, "layers": [2, 2], "bottom": 2, "growth": 4, "input": {"size": [64, 64]}},
    "tiramisu67": {"arch": "tiramisu67", "first_filters": 8, "layers": [2, 2], "bottom": 2, "growth": 4, "input": {"size": [64, 64]}},
    "tiramisu103": {"arch": "tiramisu103", "first_filters": 8, "layers": [2, 2], "bottom": 2, "growth": 4, "input": {"size": [64, 64]}},
    "deconvnet": {"arch": "deconvnet", "width": 4, "input": {"size": [64, 64]}},
    "deeplabv1": {"arch": "deeplabv1", "width": 4, "input": {"size": [64, 64]}},
    "deeplabv2": {"arch": "deeplabv2", "encoder": "mobilenet_v2", "input": {"size": [64, 64]}},
    "patch": {"arch": "patch", "kernel": 3, "widths": [8, 16, 16], "hidden": 16, "input": {"size": [64, 64]}},
    "resenc_unet": {"arch": "resenc_unet", "widths": [8, 16, 32, 32], "blocks": [1, 1, 1, 1], "input": {"size": [64, 64]}},
}
"""An entry of `models:` for each architecture, as small as it gets."""


def shapes_dataset(folder: Path, *, train: int = 4, val: int = 2, test: int = 3, size: tuple[int, int] = (64, 64)) -> PreparedDataset:
    """Generated images with both kinds of truth, prepared below `folder`."""
    source = Shapes(train=train, val=val, test=test, size=size)
    download(source, root=folder / "raw", seed=0, target=folder / "raw")
    prepare(source, raw=folder / "raw", root=folder / "raw", target=folder / "prepared")
    return PreparedDataset(folder / "prepared")


SQUARES = (ClassInfo(0, "ground", (40, 90, 200), False), ClassInfo(1, "square;box", (230, 60, 40), True), ClassInfo(2, "unseen", (9, 200, 9), True))


def squares_dataset(
    folder: Path, sizes: Sequence[tuple[int, int]], *, image: ImageKind | None = None, classes: Sequence[ClassInfo] = SQUARES
) -> PreparedDataset:
    """Images of these sizes (height, width) and of any kind: on dark ground a bright square from (10, 12) on, in the i-th of side 28 + i, in the last none.

    The two topmost rows are ignored. All splits are equal.
    """
    image = image or ImageKind()
    pixels = np.zeros(len(classes), np.int64)
    for split in ("train", "val", "test"):
        writer = SplitWriter(folder / split, ("index", "instances"))
        for i, (height, width) in enumerate(sizes):
            square = np.zeros((height, width), np.bool_)
            if i < len(sizes) - 1:
                square[10 : 38 + i, 12 : 40 + i] = True
            mask = square.astype(np.uint8)
            mask[:2] = IGNORE
            values = np.random.default_rng(i).random((height, width, image.channels)) * 0.24 + 0.7 * square[..., None]
            suffix, content = _stored((values * image.scale).astype(image.dtype))
            writer.add(f"image{i}", suffix, content, (height, width), mask, [SourceObject(1, square)] if square.any() else [])
            pixels[:2] += np.bincount(mask[2:].ravel(), minlength=2)
        split_hash = writer.finish()
    count, middle = len(sizes), tuple(int(side) for side in np.median(sizes, axis=0))
    info = DatasetInfo(
        name="squares",
        classes=tuple(classes),
        image=image,
        mean=(0.3,) * image.channels,
        std=(0.2,) * image.channels,
        class_pixels=tuple(int(n) for n in pixels),
        class_image_pixels=tuple(int(n) for n in pixels),
        counts={"train": count, "val": count, "test": count},
        instance_counts={"train": count - 1, "val": count - 1, "test": count - 1},
        truths=("index", "instances"),
        fingerprint="f",
        split_hashes=dict.fromkeys(("train", "val", "test"), split_hash),
        licence="none",
        image_size=ImageSizes(middle, middle, middle),
    )
    (folder / "dataset.json").write_text(json.dumps(info.to_dict()))
    return PreparedDataset(folder)


def redrawn(folder: Path, split: str, change: Callable[[str, np.ndarray, np.ndarray], None]) -> PreparedDataset:
    """The prepared data with other images or class masks in a split, and with no objects there; `change` gets name, image and mask, and writes into them."""
    dataset = PreparedDataset(folder)
    samples = [(sample.name, sample.image.copy(), sample.mask.copy()) for sample in dataset.split(split, ["index"]) if sample.mask is not None]
    shutil.rmtree(folder / split)
    writer = SplitWriter(folder / split, ("index",))
    for name, image, mask in samples:
        change(name, image, mask)
        suffix, content = _stored(image)
        writer.add(name, suffix, content, (mask.shape[0], mask.shape[1]), mask, ())
    writer.finish()
    return PreparedDataset(folder)


def _stored(pixels: np.ndarray) -> tuple[str, bytes]:
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return ".png", png(pixels)
    stream = io.BytesIO()
    np.save(stream, pixels)
    return ".npy", stream.getvalue()


def settings(arch: str, **changes: Any) -> ModelSettings:
    """The settings of a small model; `changes` replace whole keys."""
    return architectures.settings(arch).model_validate(SMALL[arch] | changes)


@cache
def code() -> Code:
    return Code(ROOT / "src")


def params_of(models: dict[str, ModelSettings], *, seed: int = 0, evaluate: Evaluate | None = None, export: Export | None = None) -> Params:
    """A params.yaml of these models, as it is read."""
    return Params(
        seed=seed,
        data=Shapes(),
        models=models,
        evaluate=evaluate or Evaluate(overlays=1, resamples=100),
        export=export or Export(latency_runs=2),
        promote={},
        runtime=Runtime(accelerator="cpu", devices=1, workers=0),
        tracking=Tracking(),
    )


def plans(
    name: str, model: ModelSettings, dataset: PreparedDataset, *, seed: int = 0, evaluate: Evaluate | None = None, export: Export | None = None
) -> ModelPlans:
    """The plans of one model, as the stage `plan` makes them."""
    params = params_of({name: model}, seed=seed, evaluate=evaluate, export=export)
    return resolve(name, model, params=params, info=dataset.info, code=code(), roots=(ROOT,), extents=extents.read(dataset.folder))


def card(plan: written.TrainPlan, dataset: PreparedDataset, **training: Any) -> ModelCard:
    """The card that `train` writes for a plan."""
    summary = {"metric": f"val_{tasks.get(plan.task).metric}", "best_epoch": 1, "best": 0.0, "epochs": 1, "seconds": 1.0, "device": "cpu", "precision": "fp32"}
    return card_of(plan, specification_of(plan), dataset, None).finished(summary | {"parameter_count": 1} | training)


def untrained(folder: ModelFolder, plan: written.TrainPlan, dataset: PreparedDataset) -> None:
    """A model folder as `train` leaves it, with the weights that the network began with."""
    torch.manual_seed(0)
    folder.path.mkdir(parents=True)
    network = architectures.build(plan.settings, channels=plan.image.channels, classes=len(plan.classes))
    torch.save(network.state_dict(), folder.weights)
    folder.history.write_text(f"epoch,train_loss,val_{tasks.get(plan.task).metric},lr\n1,1.5,,0.1\n2,0.7,0.4,0.05\n")
    folder.trained_on.write_text('{"version": 1, "images": []}\n')
    card(plan, dataset).write(folder.card)
