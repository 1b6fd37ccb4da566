"""Validation in several processes counts what one process counts, to the last pixel: with predictions that no rounding touches."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import factories
import numpy as np
import pytest

TESTS = Path(__file__).resolve().parents[1]

SCRIPT = """\
import sys
from pathlib import Path

import lightning
import numpy as np
import torch

sys.path.insert(0, sys.argv[1])
import factories
from segline.data.store import PreparedDataset
from segline.tasks import catalog
from segline.training import loaders
from segline.training.module import SegmentationModule
from segline.training.settings import Train


class Graph:
    \"\"\"Predicts by sums of whole numbers.\"\"\"

    inputs = {"images": {0: "B", 1: "H", 2: "W"}}

    def to(self, device):
        return self

    def run(self, images, probabilities):
        ids = images.astype(np.int64).sum(axis=3) // 7 % 5
        if sys.argv[2] == "unet":
            return {"class_ids": ids.astype(np.uint8)}
        found = np.stack([(ids[0] == k) for k in range(1, 5)])
        boxes = np.array([[x, x, x + 30, x + 30] for x in ids[0, :4, 0]], dtype=np.float32)
        scores = np.array([(int(mask.sum()) * 37 % 101) / 101 for mask in found], dtype=np.float32)
        order = np.argsort(-scores, kind="stable")
        masks = np.ones((4, 28, 28), dtype=np.float32)
        return {"boxes": boxes[order], "labels": np.arange(1, 5)[order], "scores": scores[order], "masks": masks}


class Learning:
    def graph(self, network, specification):
        return Graph()

    def collate(self, samples):
        return torch.tensor([int(sample.image.sum()) for sample in samples], dtype=torch.float64)

    def to_device(self, batch, device):
        return batch

    def losses(self, network, criterion, batch, specification):
        return {"loss": batch.mean() / 4096}


world = int(sys.argv[3])
dataset = PreparedDataset(Path(sys.argv[4]))
task = catalog.get({"unet": "semantic", "maskrcnn": "instance"}[sys.argv[2]])
plan = factories.plans("m", factories.settings(sys.argv[2]), dataset).train
specification = factories.card(plan, dataset).specification
if sys.argv[2] == "maskrcnn":
    Graph.inputs = {"image": {1: "H", 2: "W"}}
module = SegmentationModule(torch.nn.Linear(1, 1), None, task=task, learning=Learning(), specification=specification, settings=Train())
strategy = "ddp" if world > 1 else "auto"
trainer = lightning.Trainer(
    accelerator="cpu", devices=world, strategy=strategy, logger=False, enable_checkpointing=False, enable_progress_bar=False, use_distributed_sampler=False
)
split = dataset.split("val", task.truths)
loader = loaders.validation_loader(split, batch_size=2, rank=trainer.global_rank, world=trainer.world_size, workers=0)
assert len(loader.dataset) < len(split) or world == 1
[figures] = trainer.validate(module, loader, verbose=False)
if trainer.global_rank == 0:
    np.savez(sys.argv[5], **module._scorer.counts().arrays(), **{f"figure {name}": value for name, value in figures.items()})
"""


@pytest.mark.parametrize(("arch", "images", "processes"), [("unet", 5, 2), ("maskrcnn", 5, 2), ("unet", 2, 3)])
def test_several_processes_count_what_one_counts(arch: str, images: int, processes: int, tmp_path: Path, warm_path: None) -> None:  # noqa: ARG001
    dataset = factories.shapes_dataset(tmp_path, val=images)
    script = tmp_path / "validate.py"
    script.write_text(SCRIPT)
    counted = []
    for world in (1, processes):
        file = tmp_path / f"{world}.npz"
        command = ["python", str(script), str(TESTS), arch, str(world), str(dataset.folder), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
        assert done.returncode == 0, done.stderr
        with np.load(file) as arrays:
            counted.append(dict(arrays))
    one, two = counted
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(two[name], values, err_msg=name)
    assert len(one["images"]) == images
    assert one["figure val_loss"] > 1
    assert any(0 < float(value) < 1 for name, value in one.items() if name.startswith("figure val_")), "something is found, and not everything"
