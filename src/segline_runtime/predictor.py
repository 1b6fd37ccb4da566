"""A model file and what it says of an image, on ONNX Runtime alone.

Input of the file: `images` `(B, H, W, C)` of any size, uint8, or float32 where its images are of another type; outputs as the task's `decode` takes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from segline_runtime import tasks
from segline_runtime.errors import InputError, reason
from segline_runtime.predict import graph_input, predict
from segline_runtime.specification import METADATA_KEY, Specification
from segline_runtime.task import Prediction

INPUT = "images"


class Predictor:
    """Runs `model.onnx`. Images of different sizes may follow one another."""

    def __init__(self, file: Path | str, providers: Sequence[str] | None = None, threads: int | None = None) -> None:
        """`providers`: ONNX Runtime's names, by preference (default: CUDA where it is there, then CPU); `threads`: CPU threads within one operator.

        Raises InputError when the file is not there, is no ONNX model, is none that Segline exported, or is of a later Segline.
        """
        if not Path(file).is_file():
            raise InputError(f"There is no model file {file}; export a model first.")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: its warnings are about graph nodes, which a user cannot act on
        # Waiting threads sleep: when they spin, other work on the same cores slows a prediction down many times over.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads is not None:
            options.intra_op_num_threads = threads
        chosen = list(providers) if providers is not None else _providers()
        try:
            self.session = onnxruntime.InferenceSession(str(file), options, providers=chosen)
        except _unreadable() as error:
            raise InputError(f"{file} is not a readable ONNX model ({reason(error)}); export the model anew.") from None
        metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise InputError(
                f"{file} carries no '{METADATA_KEY}' metadata, so its preprocessing and classes are unknown; use a model.onnx that Segline exported."
            )
        try:
            self.specification = Specification.from_json(metadata[METADATA_KEY])
            tasks.get(self.specification.task)
        except InputError as error:
            raise InputError(f"{file} cannot be used: {error}") from None

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of where the model runs."""
        name: str = self.session.get_providers()[0]
        return name

    def run(self, images: NDArray[Any], probabilities: bool = True) -> dict[str, NDArray[Any]]:
        """The named outputs for a batch of images `(B, H, W, C)` of one size and of the specification's kind; instance models take B = 1."""
        detail = tasks.get(self.specification.task).detail
        names = [output.name for output in self.session.get_outputs() if probabilities or output.name not in detail]
        return dict(zip(names, self.session.run(names, {INPUT: graph_input(images, self.specification.image)}), strict=True))

    def __call__(self, image: NDArray[Any], probabilities: bool = False) -> Prediction:
        """What the model says of one image `(H, W, C)` (uint8 RGB, or what `specification.image` says), at its own size.

        `probabilities`: class probabilities too (semantic). Raises InputError for an array of another kind.
        """
        return predict(self.run, self.specification, image, probabilities=probabilities)

    def predict(self, images: Sequence[NDArray[Any]]) -> list[Prediction]:
        """What the model says of each image; they may differ in size."""
        return [self(image) for image in images]


def _providers() -> list[str]:
    available = onnxruntime.get_available_providers()
    return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]


def _unreadable() -> tuple[type[Exception], ...]:
    """ONNX Runtime's exceptions for a file that is no valid model."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (state.InvalidProtobuf, state.InvalidGraph, state.InvalidArgument, state.NoModel, state.Fail)
