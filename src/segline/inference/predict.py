"""`segline predict`: an exported model over one image or a folder of them. Nothing here imports torch or MLflow.

    <out>/
      classes.json             id, name, colour of each class
      overlays/<name>.png      the image with what was found in it, in colour
      masks/<name>.png         semantic: class ids; instance: 0 = nothing, n = the n-th best object of the image
      probabilities/<name>.npy semantic, on request: float32 (C, H, W)
      predictions.json         instance: COCO results (RLE masks, boxes xywh), each with its image's file name
      images.json              instance: the images and categories that the results refer to

Names keep the sub-folders of the source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from segline.errors import DataError, ModelError
from segline.evaluation.overlays import overlay
from segline.files import whole, write_json
from segline_runtime.images import SUFFIXES, InputError, to_rgb
from segline_runtime.predictions import InstancePrediction, SemanticPrediction
from segline_runtime.predictor import Predictor


def load_predictor(file: Path) -> Predictor:
    """The predictor of a model.onnx. Raises ModelError when the file is none that Segline exported."""
    try:
        return Predictor(file)
    except InputError as error:
        raise ModelError(str(error)) from None


def predict_folder(predictor: Predictor, source: Path, out: Path, *, probabilities: bool = False, progress: bool = True) -> int:
    """Predict the image `source`, or all images of the folder `source`, and write what this module's first lines list; returns how many there were.

    Raises DataError when there is no image, and, after all others are written, when some cannot be read.
    """
    names = output_names(find_images(source, out))
    specification = predictor.specification
    write_json(out / "classes.json", [asdict(c) for c in specification.classes])
    unreadable: list[str] = []
    images: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        for file, name in bar.track(names.items(), description="predict"):
            try:
                image = to_rgb(file)
            except InputError as error:
                unreadable.append(str(error))
                continue
            prediction = predictor(image, probabilities)
            _save(out / "overlays" / f"{name}.png", overlay(image, prediction, specification.classes))
            if isinstance(prediction, SemanticPrediction):
                _save(out / "masks" / f"{name}.png", prediction.class_ids)
                if prediction.probabilities is not None:
                    with whole(out / "probabilities" / f"{name}.npy") as beside, beside.open("wb") as stream:
                        np.save(stream, prediction.probabilities)
            else:
                file_name = file.name if file == source else file.relative_to(source).as_posix()
                images.append({"id": len(images) + 1, "file_name": file_name, "height": image.shape[0], "width": image.shape[1]})
                results += coco_results(prediction, images[-1]["id"], file_name)
                _save(out / "masks" / f"{name}.png", instance_index(prediction, image.shape[:2]))
    done = len(names) - len(unreadable)
    if specification.task == InstancePrediction.task:
        categories = [{"id": c.id, "name": c.name} for c in specification.classes if c.thing]
        write_json(out / "images.json", {"images": images, "categories": categories})
        write_json(out / "predictions.json", results)
    if unreadable:
        rest = f"The other {done} are in {out}." if done else "Nothing was predicted."
        raise DataError(*unreadable, f"{len(unreadable)} of {len(names)} images could not be read. {rest}")
    return done


def find_images(source: Path, out: Path) -> dict[Path, Path]:
    """Image files → their paths relative to `source`; those below `out`, which an earlier run wrote, are left out. Raises DataError when there are none."""
    if source.is_file():
        return {source: Path(source.name)}
    if not source.is_dir():
        raise DataError(f"{source} does not exist; give the path of an image or of a folder of images.")
    inside = out.resolve()
    files = sorted(f for f in source.rglob("*") if f.is_file() and f.suffix.lower() in SUFFIXES and not f.resolve().is_relative_to(inside))
    if not files:
        raise DataError(f"{source} holds no images; Segline looks for {', '.join(SUFFIXES)}, also in sub-folders.")
    return {f: f.relative_to(source) for f in files}


def output_names(files: dict[Path, Path]) -> dict[Path, str]:
    """Image file → its output's name: without its suffix, unless two images differ in nothing else."""
    stems = Counter(relative.with_suffix("") for relative in files.values())
    return {file: (relative if stems[relative.with_suffix("")] > 1 else relative.with_suffix("")).as_posix() for file, relative in files.items()}


def coco_results(prediction: InstancePrediction, image_id: int, file_name: str) -> list[dict[str, Any]]:
    """COCO results of one image: `bbox` is x, y, width, height in pixels; `segmentation` is a compressed RLE."""
    found = zip(prediction.labels, prediction.scores, prediction.boxes, prediction.masks, strict=True)
    results = []
    for label, score, (x0, y0, x1, y1), mask in found:
        encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
        results.append(
            {
                "image_id": image_id,
                "file_name": file_name,
                "category_id": int(label),
                "score": float(score),
                "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)],
                "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")},
            }
        )
    return results


def instance_index(prediction: InstancePrediction, size: Sequence[int]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """`(H, W)`: 0 where nothing is, n where the n-th best object is; where objects overlap, the better one. uint16 above 255 objects."""
    index = np.zeros(tuple(size), dtype=np.uint8 if len(prediction.scores) <= 255 else np.uint16)
    for i in range(len(prediction.scores) - 1, -1, -1):
        index[prediction.masks[i]] = i + 1
    return index


def _save(target: Path, pixels: NDArray[Any]) -> None:
    with whole(target) as file:
        Image.fromarray(pixels).save(file, format="png")
