"""Label errors that a model was trained with, found by `segline suspects` over its own training images.

    python benchmarks/labelling/suspects.py [--steps 900] [--seed 0]

As `benchmarks/suspects.py`, where the model had never seen the errors: in one object of twenty of the training data another class, a shifted mask or none at
all. A network learns from these labels, is exported, and judges them; looked at are as many suspects as a tenth of the objects. Besides, the mean IoU on images
whose labels are right tells how good a model it is. The result is `suspects.json` beside this file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import results
from suspects import SEED, SHARE, generate, judged, plant
from training import small_unet, trained

from segline.data import shapes
from segline.data.formats import catalog
from segline.data.formats.base import BACKGROUND
from segline.data.prepare import read_folder
from segline.data.store import Split
from segline.export.onnx import write_onnx
from segline.inference.predict import load_predictor
from segline.models import catalog as architectures
from segline.tasks import catalog as tasks
from segline_runtime.specification import ClassInfo, Geometry, Specification

IMAGES, SCORED, SIZE = 400, 60, (96, 128)
OPSET = 18
AUGMENT = [{"HorizontalFlip": {"p": 0.5}}, {"Rotate": {"limit": [180, 180], "p": 0.5}}]
SETTINGS = {**small_unet([16, 32, 64, 96], AUGMENT, {"batch_size": 8, "lr": 0.004, "warmup": 1}), "input": {"size": list(SIZE)}}
CLASSES = tuple(ClassInfo(i, word, (60 * i, 90, 30), i > 0) for i, word in enumerate((BACKGROUND, *shapes.CLASSES)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="segline-benchmark-") as temporary:
        folder = Path(temporary)
        generate(folder / "raw", IMAGES, SIZE, SEED + 10 + given.seed)
        generate(folder / "scored", SCORED, SIZE, SEED + 1000 + given.seed)
        errors, objects = plant(folder / "raw")
        labelled, scored = _prepared(folder / "raw"), _prepared(folder / "scored")
        specification = _specification(labelled)
        settings = architectures.settings("resenc_unet").model_validate(SETTINGS)
        began = time.process_time()
        miou, network = trained(settings, specification, labelled, scored, steps=given.steps, seed=given.seed, folder=folder / "resume")
        spent = time.process_time() - began
        write_onnx(tasks.learning("semantic").graph(network, specification), specification, folder / "model.onnx", OPSET)
        found = judged(load_predictor(folder / "model.onnx"), [labelled], errors, objects)
    how = {"network": SETTINGS["arch"], "steps": given.steps, "seed": given.seed, "training_cpu_s": round(spent), "miou_of_right_labels": round(miou, 3)}
    counts = {"images": IMAGES, "objects": objects, "planted": len(errors), "share": SHARE}
    results.write(results.beside(__file__), {**how, **counts, **found})


def _prepared(folder: Path) -> Split:
    """All images of a folder with class masks, as one split."""
    dataset = read_folder(catalog.generated(folder), folder, folder.with_name(f"{folder.name}-prepared"), model_classes=CLASSES, name="shapes")
    return dataset.split("test", ["index"])


def _specification(images: Split) -> Specification:
    pixels = torch.cat([torch.from_numpy(sample.image).reshape(-1, 3).float() / 255 for sample in images.part(range(50))])
    mean, std = pixels.mean(dim=0).tolist(), pixels.std(dim=0).tolist()
    return Specification("semantic", "bench", "shapes", CLASSES, Geometry("native", SIZE), tuple(mean), tuple(std))


if __name__ == "__main__":
    main()
