"""The registered model: MLflow runs this file when it loads one (models-from-code), and this alone of the package knows MLflow.

It takes images as base64 PNG or JPEG, or as arrays, and answers with one JSON-able mapping per image. Over HTTP:

    {"inputs": {"image": ["<base64 of a PNG or JPEG file>", …]}}

Semantic answer: `task`, `size` [height, width], `mask` (base64 PNG, its pixel values are class ids) and `classes` (`id`, `name`, `color`, `share` of the
image). Multi-label answer: `task`, `size` and `classes`, each with its own `mask` (base64 PNG, 255 where a pixel is of the class). Instance answer: `task`,
`size` and `objects` by falling score: `label`, `class`, `score`, `box` [x1, y1, x2, y2] in pixels, `mask` (base64 PNG, 255 inside the object).
Sizes and coordinates are those of the image that was sent.

What cannot be used is refused with a sentence: HTTP 400, and 413 for an image of more megapixels than the environment variable `SEGLINE_MAX_MEGAPIXELS` of
the server allows (default 64). Images are predicted one at a time, so that the memory in use is that of one; `mlflow models serve --workers` is how many
processes do so side by side.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from PIL import Image

from segline_runtime import tasks
from segline_runtime.errors import InputError, TooLargeError, memory_is_short
from segline_runtime.images import MOST_PIXELS, to_array
from segline_runtime.predictor import Predictor

COLUMN = "image"
"""Name of the one input."""

ARTIFACT = "model"
"""Name under which MLflow holds the ONNX file."""

LIMIT = "SEGLINE_MAX_MEGAPIXELS"
"""Environment variable of the server: an image of more megapixels is refused."""

MEGAPIXELS = 64.0

_EXAMPLE = f'send {{"inputs": {{"{COLUMN}": ["<base64>"]}}}}'
_PARSERS = ("_parse_json_data", "parse_csv_input", "parse_parquet_input")  # of MLflow's server
_LONGEST = 1000  # characters that an error of MLflow's may have


class RequestError(MlflowException):
    """A request that is refused. MLflow's server writes what it was sent before an error's message, megabytes of it: the answer has the sentence alone."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        """`status`: of the HTTP answer."""
        super().__init__(sentence, error_code=INVALID_PARAMETER_VALUE)
        self.sentence = sentence
        self.status = status

    def get_http_status_code(self) -> int:
        return self.status

    def serialize_as_json(self) -> str:
        return json.dumps({"error_code": self.error_code, "message": self.sentence})


class SegmentationModel(PythonModel):
    """Images in, masks out. `predictor` gives numpy arrays to those who hold the model in Python."""

    predictor: Predictor
    most_pixels = int(MEGAPIXELS * 1e6)
    turn = threading.Lock()

    def load_context(self, context: PythonModelContext) -> None:
        self.predictor = Predictor(context.artifacts[ARTIFACT])
        self.most_pixels = limit_of_server()
        _give_reasons()

    # The annotation is the one MLflow leaves alone; what it hands over is an array, a list, a mapping, a table or a single image.
    def predict(self, model_input: np.ndarray, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:  # type: ignore[override]  # noqa: ARG002
        """One answer per image: see the module's first lines.

        `model_input`: one image, a list or an array of images, or a mapping or table whose column `image` holds them; an image is
        base64 text, the bytes of a file, or a uint8 array `(H, W)`, `(H, W, 3)` or `(H, W, 4)`; several of one size may be `(N, H, W, C)`.
        A model of another kind of images takes arrays of that kind, and files that hold them (TIFF, .npy).
        Raises RequestError with a sentence when an image cannot be used; then none is answered.
        """
        return [self._answer(number, source) for number, source in enumerate(sources(model_input))]

    def _answer(self, number: int, source: Any) -> dict[str, Any]:
        specification = self.predictor.specification
        with self.turn:
            try:
                image = to_array(source, specification.image, most_pixels=self.most_pixels)
                prediction = self.predictor(image)
            except TooLargeError as error:
                raise RequestError(f"Image {number}: {error} The limit is the server's {LIMIT}.", 413) from None
            except InputError as error:
                raise RequestError(f"Image {number}: {error}") from None
            except Exception as error:
                if memory_is_short(error):
                    raise RequestError(f"Image {number}: it needs more memory than the server has; make it smaller, or cut it up.", 413) from None
                raise
            answer: dict[str, Any] = tasks.get(specification.task).answer(prediction, specification)
            return answer


def limit_of_server() -> int:
    """Of an image, by the environment. Raises MlflowException when the variable holds no number."""
    text = os.environ.get(LIMIT) or str(MEGAPIXELS)
    try:
        megapixels = float(text)
    except ValueError:
        megapixels = math.nan
    if not 0 < megapixels < math.inf:
        raise MlflowException.invalid_parameter_value(f"{LIMIT} is '{text}'; set it to a number of megapixels, such as {MEGAPIXELS:g}.")
    pixels = int(megapixels * 1e6)
    if pixels > MOST_PIXELS:
        Image.MAX_IMAGE_PIXELS = pixels  # Pillow's own limit, which would stand in the way
    return pixels


def sources(model_input: Any) -> list[Any]:
    """The single images in what MLflow hands over. Raises RequestError."""
    if hasattr(model_input, "columns"):
        if COLUMN not in model_input:
            raise RequestError(f'The input has no "{COLUMN}", only {_names(model_input)}; {_EXAMPLE}.')
        return _images(model_input[COLUMN]) if len(model_input) else []
    if isinstance(model_input, Mapping):
        return _images(_only(model_input))
    items = _images(model_input)
    if not any(isinstance(item, Mapping) for item in items):
        return items
    found = []
    for number, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise RequestError(f'Item {number} is no object with the key "{COLUMN}", as others are; {_EXAMPLE}.')
        found += _images(_only(item))
    return found


def _only(mapping: Mapping[Any, Any]) -> Any:
    """What stands at the one key. Raises RequestError when it is not there, or others are: what is not read would be left out unseen."""
    if COLUMN not in mapping:
        raise RequestError(f'The input has no "{COLUMN}", only {_names(mapping) or "nothing"}; {_EXAMPLE}.')
    others = [key for key in mapping if key != COLUMN]
    if others:
        raise RequestError(f'The input has {_names(others)} besides "{COLUMN}", and nothing would be done with it; {_EXAMPLE}.')
    return mapping[COLUMN]


def _images(values: Any) -> list[Any]:
    """The images of one column, or of an input without columns."""
    if isinstance(values, str | bytes):
        return [values]
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OSU":
        return list(values) if values.ndim == 4 else [values]
    if isinstance(values, Mapping) or not isinstance(values, Iterable):
        raise RequestError(f"An image of type {type(values).__name__} cannot be used; {_EXAMPLE}.")
    items = values.ravel().tolist() if isinstance(values, np.ndarray) else list(values)
    if not items:
        raise RequestError(f"The input holds no image; {_EXAMPLE}.")
    if not all(isinstance(item, list | tuple) for item in items):
        return items
    try:
        return _images(np.asarray(items))  # numbers in lists, as JSON has them
    except ValueError:  # images of different sizes
        return [_array(item, number) for number, item in enumerate(items)]


def _array(rows: Any, number: int) -> Any:
    try:
        return np.asarray(rows)
    except ValueError:
        raise RequestError(f"Image {number}: its lists of numbers are not of one length each, or nested too deeply; an image is rows of pixels.") from None


def _names(keys: Iterable[Any]) -> str:
    """Some keys, shortened."""
    words = [str(key) for key in keys]
    shown = [word if len(word) <= 40 else f"{word[:40]}…" for word in words[:5]]
    return ", ".join([*shown, "…"] if len(words) > len(shown) else shown)


def _give_reasons() -> None:
    """Within MLflow's server: give what it refuses without a reason, before the model is asked, a sentence as well."""
    server = sys.modules.get("mlflow.pyfunc.scoring_server")
    invocations = getattr(server, "invocations", None)
    if invocations is not None and not hasattr(invocations, "__wrapped__"):
        server.invocations = _with_reasons(invocations)  # type: ignore[union-attr]


def _with_reasons(invocations: Callable[..., Any]) -> Callable[..., Any]:
    """MLflow's function that answers a request, `(body, content type, …)`. It lets some errors of parsing pass, which end as a bare HTTP 500."""

    @wraps(invocations)
    def answer(data: Any, content_type: str | None, *rest: Any) -> Any:
        try:
            return invocations(data, content_type or "", *rest)
        except MlflowException as error:
            if hasattr(error, "sentence"):  # a RequestError, of whichever model in this process
                raise
            message = error.message
            if "inhomogeneous shape" in message:
                raise RequestError(
                    "The lists of numbers are not of one length each. Images of several sizes, or arrays beside texts, cannot be sent in one list: "
                    "send all as base64 text, or one request for each."
                ) from None
            if "RecursionError" in message:
                raise RequestError(_TOO_DEEP) from None
            if message.startswith("Encountered an unexpected error"):  # no mistake of the request's
                raise
            if len(message) > _LONGEST:  # it quotes the request
                message = f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 2 :]}"
            status: int = error.get_http_status_code()  # type: ignore[no-untyped-call]
            raise RequestError(f"{message.strip()} To ask this model, {_EXAMPLE}.", status) from None
        except (RecursionError, ValueError) as error:
            if not _raised_by_parsing(error):
                raise
            if isinstance(error, RecursionError):
                raise RequestError(_TOO_DEEP) from None
            raise RequestError(f"The request cannot be read: {str(error)[:_LONGEST].rstrip('.')}.") from None

    return answer


def _raised_by_parsing(error: Exception) -> bool:
    """Whether it comes from what MLflow makes of a request's body, and not from an answer that could not be written."""
    return any(frame.f_code.co_name in _PARSERS for frame, _ in traceback.walk_tb(error.__traceback__))


_TOO_DEEP = f"The request's JSON is nested too deeply; {_EXAMPLE}."

set_model(SegmentationModel())
