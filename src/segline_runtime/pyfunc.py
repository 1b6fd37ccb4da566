"""The registered model: MLflow runs this file when it loads one (models-from-code), and this alone of the package knows MLflow.

It takes images as base64 PNG or JPEG, or as arrays, and answers with one JSON-able mapping per image. Over HTTP:

    {"inputs": {"image": ["<base64 of a PNG or JPEG file>", …]}}

Semantic answer: `task`, `size` [height, width], `mask` (base64 PNG, its pixel values are class ids) and `classes` (`id`, `name`, `color`, `share` of the
image). Instance answer: `task`, `size` and `objects` by falling score: `label`, `class`, `score`, `box` [x1, y1, x2, y2] in pixels, `mask` (base64 PNG,
255 inside the object).
Sizes and coordinates are those of the image that was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from segline_runtime import tasks
from segline_runtime.errors import InputError
from segline_runtime.images import to_array
from segline_runtime.predictor import Predictor

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
        A model of another kind of images takes arrays of that kind, and files that hold them (TIFF, .npy).
        Raises MlflowException (HTTP 400) with a sentence when an image cannot be used; then none is answered.
        """
        specification = self.predictor.specification
        images = []
        for number, source in enumerate(_sources(model_input)):
            try:
                images.append(to_array(source, specification.image))
            except InputError as error:
                raise MlflowException.invalid_parameter_value(f"Image {number}: {error}") from None
        answer = tasks.get(specification.task).answer
        return [answer(self.predictor(image), specification) for image in images]


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


set_model(SegmentationModel())
