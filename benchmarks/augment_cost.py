"""What augmentation costs per image: copy-paste in the loader, and the transforms of the recipe `unet` in the loader against those on the device.

    python benchmarks/augment_cost.py

Generated images of 360 × 480 (CamVid's size) with masks and objects, already in memory; no decoding, no network. Processor seconds of this process, on one
thread, so that other work on the machine does not count; on a GPU, seconds by the clock until it has finished. The ways take turns.
Writes `augment_cost.json` beside itself.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import results
import torch

from segline.data.download import download
from segline.data.prepare import prepare
from segline.data.sources import Shapes
from segline.data.store import PreparedDataset, Sample
from segline.recipes import catalog
from segline.training.augment import Augmentation
from segline.training.on_device import PreparedBatch
from segline.training.settings import Transform
from segline_runtime.specification import Geometry

SIZE, CROP = (360, 480), (352, 480)
IMAGES, ROUNDS = 16, 5
NATIVE = Geometry("native", None)


def main() -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        both = _images(Path(folder))
    semantic = [replace(sample, instances=None) for sample in both]
    objects = [replace(sample, mask=None) for sample in both]

    plain = Augmentation([], geometry=NATIVE, truth="instances", crop=CROP)
    pasting = Augmentation([Transform.model_validate({"CopyPaste": {"p": 1.0}})], geometry=NATIVE, truth="instances", crop=CROP)
    pasting_index = Augmentation([Transform.model_validate({"CopyPaste": {"p": 1.0}})], geometry=NATIVE, truth="index", crop=CROP)
    nothing_index = Augmentation([], geometry=NATIVE, truth="index", crop=CROP)
    listed = catalog.get("unet").values["augment"]
    assert isinstance(listed, list)
    recipe = Augmentation([Transform.model_validate(entry) for entry in listed], geometry=NATIVE, truth="index", crop=CROP)
    second = recipe.second_half()

    def on_device(samples: Sequence[Sample]) -> None:
        second(PreparedBatch(tuple(recipe.prepared(sample, i) for i, sample in enumerate(samples))), device)

    def loaders_part(samples: Sequence[Sample]) -> None:
        for i, sample in enumerate(samples):
            recipe.prepared(sample, i)

    ways: dict[str, tuple[Callable[[], None], torch.device]] = {
        "objects, nothing": (lambda: _each(plain, objects, objects), torch.device("cpu")),
        "objects, copy-paste": (lambda: _each(pasting, objects, objects), torch.device("cpu")),
        "index mask, nothing": (lambda: _each(nothing_index, semantic, both), torch.device("cpu")),
        "index mask, copy-paste": (lambda: _each(pasting_index, both, both), torch.device("cpu")),
        "recipe unet, loader": (lambda: _each(recipe, semantic, both), torch.device("cpu")),
        "recipe unet, device, the loader's part": (lambda: loaders_part(semantic), torch.device("cpu")),
        "recipe unet, device, both parts": (lambda: on_device(semantic), device),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (way, where) in ways.items():
            seconds[name].append(_timed(way, where) / IMAGES)
    cost = {name: round(1000 * statistics.median(values), 3) for name, values in seconds.items()}
    results.write(
        results.beside(__file__),
        {
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
            "image": list(SIZE),
            "crop": list(CROP),
            "milliseconds per image": cost,
            "copy-paste adds, milliseconds per image": {
                truth: round(cost[f"{truth}, copy-paste"] - cost[f"{truth}, nothing"], 3) for truth in ("objects", "index mask")
            },
            "images per second, device over loader": round(cost["recipe unet, loader"] / cost["recipe unet, device, both parts"], 3),
            "images per second of a loader process, device over loader": round(cost["recipe unet, loader"] / cost["recipe unet, device, the loader's part"], 3),
        },
    )


def _images(folder: Path) -> list[Sample]:
    source = Shapes(train=IMAGES, val=1, test=1, size=SIZE)
    download(source, root=folder / "raw", seed=0, target=folder / "raw")
    prepare(source, raw=folder / "raw", root=folder / "raw", target=folder / "prepared")
    return list(PreparedDataset(folder / "prepared").split("train", ["index", "instances"]))


def _each(augmentation: Augmentation, samples: Sequence[Sample], others: Sequence[Sample]) -> None:
    for i, sample in enumerate(samples):
        augmentation(sample, i, others=others)


def _timed(way: Callable[[], None], where: torch.device) -> float:
    clock = time.process_time if where.type == "cpu" else time.perf_counter
    if where.type == "cuda":
        torch.cuda.synchronize()
    since = clock()
    way()
    if where.type == "cuda":
        torch.cuda.synchronize()
    return clock() - since


if __name__ == "__main__":
    main()
