"""The files of `segline predict` for instance models.

masks/<name>.png     0 = nothing, n = the n-th best object of the image
predictions.json     COCO results (RLE masks, boxes xywh), each with its image's file name
images.json          the images and categories that the results refer to
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.run_lengths import encode
from segline.files import write_json
from segline.tasks.results import write_png
from segline_runtime.predictions import InstancePrediction, Prediction
from segline_runtime.specification import Specification


class InstanceResults:
    """See `segline.tasks.base.ResultFiles`."""

    def __init__(self, out: Path, specification: Specification, *, probabilities: bool) -> None:  # noqa: ARG002
        self.out = out
        self.categories = [{"id": info.id, "name": info.name} for info in specification.classes if info.thing]
        self.images: list[dict[str, Any]] = []
        self.found: list[dict[str, Any]] = []

    def add(self, name: str, file_name: str, image: NDArray[Any], prediction: Prediction) -> None:
        assert isinstance(prediction, InstancePrediction)
        image_id = len(self.images) + 1
        height, width = image.shape[:2]
        self.images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
        self.found += coco_results(prediction, image_id, file_name)
        write_png(self.out / "masks" / f"{name}.png", instance_index(prediction, (height, width)))

    def finish(self) -> None:
        write_json(self.out / "images.json", {"images": self.images, "categories": self.categories})
        write_json(self.out / "predictions.json", self.found)


def coco_results(prediction: InstancePrediction, image_id: int, file_name: str) -> list[dict[str, Any]]:
    """COCO results of one image: `bbox` is x, y, width, height in pixels; `segmentation` is a compressed RLE."""
    results = []
    for label, score, (x0, y0, x1, y1), mask in zip(prediction.labels, prediction.scores, prediction.boxes, prediction.masks, strict=True):
        encoded = encode(mask)
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


def instance_index(prediction: InstancePrediction, size: tuple[int, int]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """`(H, W)`: 0 where nothing is, n where the n-th best object is; where objects overlap, the better one. uint16 above 255 objects."""
    index = np.zeros(size, dtype=np.uint8 if len(prediction.scores) <= 255 else np.uint16)
    for i in range(len(prediction.scores) - 1, -1, -1):
        index[prediction.masks[i]] = i + 1
    return index
