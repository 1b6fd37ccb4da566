"""`segline evaluate`: an exported model's figures on any annotated folder."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from segline.data.prepare import read_folder
from segline.errors import DataError
from segline.evaluation.evaluate import evaluate
from segline.inference.predict import load_predictor
from segline.tasks import registry as tasks

_WORDS = {"index": "class masks (semantic truth)", "instances": "object masks (instance truth)"}


def evaluate_folder(
    file: Path, *, root: Path, data_format: str, classes: Sequence[str] | None = None, ignore: Sequence[int] | None = None, progress: bool = True
) -> tuple[dict[str, float], int, str]:
    """Score the ONNX model `file` on all images below `root`, at their own size: the figures, the number of images, and the hash of images and truth.

    `data_format`, `classes` and `ignore` as in the section `data` of params.yaml; classes are matched with the model's by name.
    Raises ModelError for the model, DataError for the data.
    """
    if not root.is_dir():
        raise DataError(f"The folder {root} does not exist; give --root the folder of your annotated images.")
    predictor = load_predictor(file)
    specification = predictor.specification
    task = tasks.get(specification.task)
    with tempfile.TemporaryDirectory(prefix="segline-evaluate-") as temporary:
        target = Path(temporary) / "prepared"
        dataset = read_folder(root, data_format, target, model_classes=specification.classes, classes=classes, ignore=ignore)
        if task.truth not in dataset.info.truths:
            has = " and ".join(_WORDS[truth] for truth in dataset.info.truths)
            raise DataError(f"The model '{specification.model}' is scored by {_WORDS[task.truth]}, and {root} has {has}. Choose data that has it.")
        split = dataset.split("test")
        found = evaluate(predictor.predict, split, task.scorer(specification.classes), progress=progress)
    return found.metrics, len(split), dataset.info.split_hashes["test"]
