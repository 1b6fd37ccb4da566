"""Planted label errors found: in one object of twenty another class, a shifted mask or none at all; the share of them among the first suspects.

    python benchmarks/suspects.py MODEL.onnx …

Models of the shipped line (`models/unet/model.onnx`, `models/maskrcnn/model.onnx`), which were trained without such errors. The images are generated shapes
that no model has seen, from another seed. Looked at are as many suspects as a tenth of the objects. An error is found by a suspect whose box overlaps it (IoU ≥
0.3): as it is annotated, or as it should be. Of the images, the area under the ROC curve of their quality is told: how often one with an error comes first.
The result is `benchmarks/suspects.json`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import results
from numpy.typing import NDArray
from pycocotools import mask as rle

from segline.data import shapes
from segline.data.formats import catalog
from segline.data.masks import encode_mask
from segline.data.prepare import read_folder
from segline.data.store import Split
from segline.inference.predict import load_predictor
from segline.suspects.rank import Ranking, rank, splits_for
from segline_runtime.predictor import Predictor

IMAGES, SIZE, SEED = 240, (96, 128), 4242
SHARE = 0.05
FIRST = 0.1
SAME = 0.3
KINDS = ("class", "shifted", "missing")

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Error:
    """One that was planted. Boxes xyxy."""

    image: str
    kind: str
    boxes: tuple[Box, ...]


def generate(folder: Path, images: int, size: tuple[int, int], seed: int) -> None:
    """Shapes in the new folder, all in one split."""
    folder.mkdir()
    shapes.generate(folder, {"train": 0, "val": 0, "test": images}, size, seed)
    for split in ("train", "val"):
        (folder / "annotations" / f"instances_{split}.json").unlink()


def plant(folder: Path) -> tuple[list[Error], int]:
    """Put errors into the annotations of `folder`; gives them, and how many objects there were."""
    file = folder / "annotations" / "instances_test.json"
    content = json.loads(file.read_text())
    names = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
    annotations = content["annotations"]
    categories = [category["id"] for category in content["categories"]]
    random = np.random.default_rng(SEED)
    chosen = random.choice(len(annotations), round(SHARE * len(annotations)), replace=False)
    errors, gone = [], set()
    for place, number in enumerate(chosen.tolist()):
        one, kind = annotations[number], KINDS[place % len(KINDS)]
        before = xyxy(one["bbox"])
        if kind == "class":
            one["category_id"] = int(random.choice([other for other in categories if other != one["category_id"]]))
        elif kind == "missing":
            gone.add(number)
        else:
            one |= encode_mask(moved(rle.decode(one["segmentation"]).astype(bool), before))
        errors.append(Error(names[one["image_id"]], kind, tuple({before, xyxy(one["bbox"])})))
    content["annotations"] = [one for number, one in enumerate(annotations) if number not in gone]
    file.write_text(json.dumps(content))
    return errors, len(annotations)


def moved(mask: NDArray[np.bool_], box: Box) -> NDArray[np.bool_]:
    """By 40 % of its width and height, towards the middle of the image."""
    height, width = mask.shape
    right, down = (0.4 * (high - low) * (1 if low + high < whole else -1) for low, high, whole in ((box[0], box[2], width), (box[1], box[3], height)))
    rows, columns = np.nonzero(mask)
    rows, columns = rows + round(down), columns + round(right)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    shifted = np.zeros_like(mask)
    shifted[rows[inside], columns[inside]] = True
    return shifted


def xyxy(box: list[float]) -> Box:
    return box[0], box[1], box[0] + box[2], box[1] + box[3]


def overlap(one: Box, other: Box) -> float:
    """IoU."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


def measured(file: Path, folder: Path, target: Path, errors: list[Error], objects: int) -> dict[str, Any]:
    predictor = load_predictor(file)
    settings = catalog.generated(folder)
    dataset = read_folder(settings, folder, target, model_classes=predictor.specification.classes, name="shapes")
    return {"task": predictor.specification.task, **judged(predictor, splits_for(predictor, dataset, ["test"]), errors, objects)}


def judged(predictor: Predictor, splits: list[Split], errors: list[Error], objects: int) -> dict[str, Any]:
    """What a model finds of the errors in the annotations of some images."""
    start = time.process_time()
    ranking = rank(predictor, splits, progress=False)
    seconds = time.process_time() - start
    first = ranking.objects[: round(FIRST * objects)]
    found = [any(one.image == error.image and any(overlap(box, one.found.box) >= SAME for box in error.boxes) for one in first) for error in errors]
    by_kind = {kind: round(float(np.mean([hit for hit, error in zip(found, errors, strict=True) if error.kind == kind])), 3) for kind in KINDS}
    return {
        "looked_at": len(first),
        "recall": round(float(np.mean(found)), 3),
        "recall_by_kind": by_kind,
        "images_auroc": round(auroc(ranking, {error.image for error in errors}), 3),
        "cpu_ms_per_image": round(1000 * seconds / len(ranking.images)),
    }


def auroc(ranking: Ranking, wrong: set[str]) -> float:
    places = np.array([place for place, image in enumerate(ranking.images) if image.image in wrong])
    right = np.array([place for place, image in enumerate(ranking.images) if image.image not in wrong])
    return float((places[:, None] < right[None]).mean())


def main(files: list[Path]) -> None:
    with tempfile.TemporaryDirectory(prefix="segline-benchmark-") as temporary:
        folder = Path(temporary) / "raw"
        generate(folder, IMAGES, SIZE, SEED)
        errors, objects = plant(folder)
        models = {str(load_predictor(file).specification.model): measured(file, folder, Path(temporary) / file.stem, errors, objects) for file in files}
    results.write(results.beside(__file__), {"images": IMAGES, "objects": objects, "planted": len(errors), "models": models})


if __name__ == "__main__":
    main([Path(file) for file in sys.argv[1:]])
