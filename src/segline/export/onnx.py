"""A graph as one ONNX file that carries its preprocessing, its specification and a description of its input."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.jit._trace import TracerWarning
from torch.onnx import symbolic_helper
from torch.onnx.utils import register_custom_op_symbolic

from segline.export.faster import faster
from segline.tasks.graph import EvalGraph
from segline_runtime.predict import graph_input
from segline_runtime.specification import METADATA_KEY, Specification

_INT64 = 7  # of ONNX's TensorProto

_DESCRIPTION = (
    "Input `images`: {dtype}, (batch, height, width, {channels}), values as decoded from a file: scaling, resizing and normalisation are inside. "
    "Any height and width. Outputs refer to the pixels of the input, but `logits` to those of the image as the network sees it. "
    "The metadata entry `{key}` holds classes and preprocessing as JSON."
)

_EXPECTED_WARNINGS: tuple[tuple[type[Warning], str, str], ...] = (
    # The newer exporter (dynamo=True) fails on torchvision's detection models, so the older one is used, knowingly.
    (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export", ""),
    (DeprecationWarning, "The feature will be removed. Please remove usage of this function", ""),
    (FutureWarning, "`torch.jit.script` is deprecated", ""),
    # torchvision's NMS and box clipping, written for tracing; parity is proved afterwards, at several sizes.
    (UserWarning, "To copy construct from a tensor", ""),
    (TracerWarning, "", r"torch(vision)?(\.|$)"),
    # Whether a decoder ends at the resolution of its input does not depend on the size of the input.
    (TracerWarning, "Converting a tensor to a Python boolean", r"segline\.models\."),
    # Nor does whether an encoder has features of stride 2.
    (TracerWarning, "Converting a tensor to a Python boolean", r"segmentation_models_pytorch\.decoders\.segformer\."),
    (UserWarning, "Constant folding - Only steps=1 can be constant folded", ""),
    # All indices come from sorting, NMS and class labels: none is negative.
    (UserWarning, "Exporting aten::index operator of advanced indexing", ""),
)
"""Category, beginning of the message, module that it is about."""


def write_onnx(graph: EvalGraph, specification: Specification, file: Path, opset: int, *, exporter: Literal["torchscript", "dynamo"] = "torchscript") -> None:
    """Write `graph` to `file`: one file, checked, with `specification` in its metadata; the axes that the graph names stay of any length.

    Some parts are computed in other ways than in torch (`segline.export.faster`); the graph itself is left as it is.

    exporter: `torchscript` knows torchvision's detection models, `dynamo` is torch's newer one.
    """
    kind = specification.image
    example = torch.from_numpy(_example(specification)).to(graph.mean.device)
    _register_antialiased_resizing(opset)
    graph = faster(graph, example)
    with _without_expected_warnings(), torch.no_grad():
        if exporter == "dynamo":
            _export_by_dynamo(graph, example, file, opset)
        else:
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
    model.doc_string = _DESCRIPTION.format(key=METADATA_KEY, dtype="uint8" if kind.dtype == "uint8" else "float32", channels=kind.channels)
    model.graph.input[0].doc_string = model.doc_string
    onnx.helper.set_model_props(model, {METADATA_KEY: specification.to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def differ_in_zeroed_scalars_alone(file: Path, other: Path) -> bool:
    """Whether `other` is the model of `file` with some number, wherever it stands, made 0: the same operators, and weights equal to the last bit."""
    models = onnx.load(str(file)), onnx.load(str(other))
    tensors = [list(_tensors(model.graph)) for model in models]
    replaced = set()
    for first, second in zip(*tensors, strict=False):
        if first.SerializeToString() != second.SerializeToString():
            before, after = onnx.numpy_helper.to_array(first), onnx.numpy_helper.to_array(second)
            if before.size != 1 or after.size != 1 or after.item() != 0:
                return False
            replaced.add(before.item())
    for tensor in (*tensors[0], *tensors[1]):
        tensor.ClearField("raw_data")
    return len(replaced) <= 1 and models[0].graph.SerializeToString() == models[1].graph.SerializeToString()


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Weights and constants, those of inner graphs too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _example(specification: Specification) -> NDArray[Any]:
    """An image to trace the graph with: of the network's size, or of a small one where it takes any."""
    height, width = specification.geometry.size or (64, 96)
    values = np.random.default_rng(0).random((1, height, width, specification.image.channels)) * specification.image.scale
    return graph_input(values.astype(specification.image.dtype), specification.image)


def _export_by_dynamo(graph: EvalGraph, example: Tensor, file: Path, opset: int) -> None:
    # Axes of length 1 would be taken for constants.
    batch = torch.cat([example, example]) if 0 in graph.inputs["images"] else example
    axes = dict.fromkeys(graph.inputs["images"], torch.export.Dim.DYNAMIC)
    torch.onnx.export(
        graph,
        (batch,),
        str(file),
        dynamo=True,
        external_data=False,
        opset_version=opset,
        input_names=list(graph.inputs),
        output_names=list(graph.outputs),
        dynamic_shapes=(axes,),
        verbose=False,
    )


def _register_antialiased_resizing(opset: int) -> None:
    """torch's older exporter lacks this one operator, which ONNX has since opset 18 as an attribute of `Resize`."""
    register_custom_op_symbolic("aten::_upsample_bilinear2d_aa", _antialiased_resize, opset)


def _antialiased_resize(graph: Any, values: Any, size: Any, _align_corners: Any, *_scales: Any) -> Any:
    sides = size
    if symbolic_helper._is_packed_list(size):
        axis = graph.op("Constant", value_t=torch.tensor([0]))
        parts = [graph.op("Unsqueeze", graph.op("Cast", side, to_i=_INT64), axis) for side in symbolic_helper._unpack_list(size)]
        sides = graph.op("Concat", *parts, axis_i=0)
    start, end, axis = (graph.op("Constant", value_t=torch.tensor([value])) for value in (0, 2, 0))
    batch_and_channels = graph.op("Slice", graph.op("Shape", values), start, end, axis)
    shape = graph.op("Concat", batch_and_channels, sides, axis_i=0)
    none = graph.op("Constant", value_t=torch.tensor([], dtype=torch.float32))
    # Without exclude_outside, weights that fall off the border are not made up for, and torch and Pillow do make up for them.
    return graph.op("Resize", values, none, none, shape, mode_s="linear", coordinate_transformation_mode_s="half_pixel", antialias_i=1, exclude_outside_i=1)


@contextmanager
def _without_expected_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        for category, beginning, module in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=beginning, category=category, module=module)
        yield
