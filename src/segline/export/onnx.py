"""A graph as one ONNX file that carries its preprocessing, its specification and a description of its input."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from torch.jit._trace import TracerWarning

from segline.tasks.graphs import EvalGraph
from segline_runtime.specification import METADATA_KEY, Specification

_DESCRIPTION = (
    "Input `images`: RGB, uint8, (batch, height, width, 3), values 0 to 255, as decoded from a file: scaling, resizing and normalisation are inside. "
    "Any height and width. Outputs refer to the pixels of the input. The metadata entry `{key}` holds classes and preprocessing as JSON."
)

_EXPECTED_WARNINGS: tuple[tuple[type[Warning], str, str], ...] = (
    # The newer exporter (dynamo=True) fails on torchvision's detection models, so the older one is used, knowingly.
    (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export", ""),
    (DeprecationWarning, "The feature will be removed. Please remove usage of this function", ""),
    (FutureWarning, "`torch.jit.script` is deprecated", ""),
    # torchvision's NMS and box clipping, written for tracing; parity is proved afterwards, at several sizes.
    (UserWarning, "To copy construct from a tensor", ""),
    (TracerWarning, "", r"torch(vision)?(\.|$)"),
    # The graph resizes to one size, so the padding of a network behind it is a constant.
    (TracerWarning, "Converting a tensor to a Python integer", r"segline\.models\."),
    (UserWarning, "Constant folding - Only steps=1 can be constant folded", ""),
    # All indices come from sorting, NMS and class labels: none is negative.
    (UserWarning, "Exporting aten::index operator of advanced indexing", ""),
)
"""Category, beginning of the message, module that it is about."""


def write_onnx(graph: EvalGraph, specification: Specification, file: Path, opset: int) -> None:
    """Write `graph` to `file`: one file, checked, with `specification` in its metadata; the axes that the graph names stay of any length."""
    height, width = specification.image_size
    example = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)).to(graph.mean.device)
    with _without_expected_warnings(), torch.no_grad():
        torch.onnx.export(
            graph,
            (example,),
            str(file),
            dynamo=False,
            opset_version=opset,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={**graph.inputs, **graph.outputs},
        )
    model = onnx.load(str(file))
    model.doc_string = _DESCRIPTION.format(key=METADATA_KEY)
    model.graph.input[0].doc_string = model.doc_string
    onnx.helper.set_model_props(model, {METADATA_KEY: specification.to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


@contextmanager
def _without_expected_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        for category, beginning, module in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=beginning, category=category, module=module)
        yield
