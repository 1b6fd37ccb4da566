"""`segline evaluate`: an exported model's figures on any annotated folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from segline.data.prepare import read_folder
from segline.data.sources import Folder
from segline.data.store import TRUTHS
from segline.errors import DataError
from segline.evaluation.evaluate import evaluate
from segline.inference.predict import load_predictor
from segline.metrics import catalog
from segline.metrics.figures import figures
from segline.tasks import catalog as tasks


def evaluate_folder(file: Path, settings: Folder, *, progress: bool = True) -> tuple[dict[str, float], int, str]:
    """Score the ONNX model `file` on all images of the folder `settings.source`, at their own size.

    Gives the figures, the number of images, and the hash of images and truth.

    `settings`: how the folder is annotated, by the format's own keys; classes are matched with the model's by name.
    Raises ModelError for the model, DataError for the data.
    """
    root = Path(settings.source)
    predictor = load_predictor(file)
    specification = predictor.specification
    task = tasks.get(specification.task)
    with tempfile.TemporaryDirectory(prefix="segline-evaluate-") as temporary:
        target = Path(temporary) / "prepared"
        dataset = read_folder(settings, root, target, model_classes=specification.classes, image=specification.image)
        for truth in task.truths:
            if not dataset.info.has(truth):
                has = " and ".join(TRUTHS[one] for one in dataset.info.truths)
                raise DataError(f"The model '{specification.model}' is scored by {TRUTHS[truth]}, and {root} has {has}. Choose data that has it.")
        split = dataset.split("test", task.truths)
        found = evaluate(predictor.predict, split, task.scorer(specification.classes), progress=progress)
        metrics = [catalog.get(word) for word in task.metrics]
    return figures(found.counts, metrics, specification.classes), len(split), dataset.info.split_hashes["test"]
