"""The registered model: MLflow runs this file when it loads one (models-from-code), and this alone of the package knows MLflow.

It takes images as base64 PNG or JPEG, or as arrays, and answers with one JSON-able mapping per image. Over HTTP:

    {"inputs": {"image": ["<base64 of a PNG or JPEG file>", …]}}

Semantic answer: `task`, `size` [height, width], `mask` (base64 PNG, its pixel values are class ids) and `classes` (`id`, `name`, `color`, `share` of the
image). Instance answer: `task`, `size` and `objects` by falling score: `label`, `class`, `score`, `box` [x1, y1, x2, y2] in pixels, `mask` (base64 PNG,
255 inside the object).
Sizes and coordinates are those of the image that was sent.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray
from PIL import Image

from segline_runtime.images import InputError, to_rgb
from segline_runtime.predictions import Prediction, SemanticPrediction
from segline_runtime.predictor import Predictor
from segline_runtime.specification import Specification

COLUMN = "image"
"""Name of the one input."""

ARTIFACT = "model"
"""Name under which MLflow holds the ONNX file."""


class SegmentationModel(PythonModel):
    """Images in, masks out. `predictor` gives numpy arrays to those who hold the model in Python."""

    predictor: Predictor

    def load_context(self, context: PythonModelContext) -> None:
        self.predictor = Predictor(context.artifacts[ARTIFACT])

    # The annotation is the one MLflow leaves alone; what it hands over is an array, a list, a mapping, a table or a single image.
    def predict(self, model_input: np.ndarray, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:  # type: ignore[override]  # noqa: ARG002
        """One answer per image: see the module's first lines.

        `model_input`: one image, a list or an array of images, or a mapping or table whose column `image` holds them; an image is
        base64 text, the bytes of a file, or a uint8 array `(H, W)`, `(H, W, 3)` or `(H, W, 4)`; several of one size may be `(N, H, W, C)`.
        Raises MlflowException (HTTP 400) with a sentence when an image cannot be used; then none is answered.
        """
        images = []
        for number, source in enumerate(_sources(model_input)):
            try:
                images.append(to_rgb(source))
            except InputError as error:
                raise MlflowException.invalid_parameter_value(f"Image {number}: {error}") from None
        return [answer(self.predictor(image), self.predictor.specification) for image in images]


def answer(prediction: Prediction, specification: Specification) -> dict[str, Any]:
    """A prediction in the form that JSON can carry."""
    if isinstance(prediction, SemanticPrediction):
        ids = prediction.class_ids
        counts = np.bincount(ids.ravel(), minlength=len(specification.classes))
        return {
            "task": prediction.task,
            "size": list(ids.shape),
            "mask": _png(ids),
            "classes": [{"id": c.id, "name": c.name, "color": list(c.color), "share": float(counts[c.id] / ids.size)} for c in specification.classes],
        }
    names = {c.id: c.name for c in specification.classes}
    found = zip(prediction.labels, prediction.scores, prediction.boxes, prediction.masks, strict=True)
    return {
        "task": prediction.task,
        "size": list(prediction.masks.shape[1:]),
        "objects": [
            {"label": int(label), "class": names[int(label)], "score": float(score), "box": [float(v) for v in box], "mask": _png(mask.astype(np.uint8) * 255)}
            for label, score, box, mask in found
        ],
    }


def _sources(model_input: Any) -> list[Any]:
    """The single images in what MLflow hands over."""
    if isinstance(model_input, Mapping) or hasattr(model_input, "columns"):
        if COLUMN not in model_input:
            raise MlflowException.invalid_parameter_value(
                f'The input has no "{COLUMN}", only {", ".join(map(str, model_input)) or "nothing"}; send {{"inputs": {{"{COLUMN}": ["<base64>"]}}}}.'
            )
        model_input = model_input[COLUMN]
    if isinstance(model_input, str | bytes):
        return [model_input]
    if isinstance(model_input, np.ndarray) and model_input.dtype.kind not in "OSU":
        return list(model_input) if model_input.ndim == 4 else [model_input]
    items = model_input.ravel().tolist() if isinstance(model_input, np.ndarray) else list(model_input)
    if items and all(isinstance(item, Mapping) for item in items):
        return [source for item in items for source in _sources(item)]
    if not all(isinstance(item, list | tuple) for item in items):
        return items
    try:
        return _sources(np.asarray(items))  # numbers in lists, as JSON has them
    except ValueError:
        return [np.asarray(item) for item in items]  # images of different sizes


def _png(pixels: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


set_model(SegmentationModel())
