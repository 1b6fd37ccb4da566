"""Instance segmentation: objects, each with class, score, box and mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segline.data.store import Sample, Truth
from segline.metrics.instance import InstanceScorer
from segline.models.instance import registry as architectures
from segline.tasks.base import Batch
from segline.tasks.graphs import EvalGraph, InstanceGraph
from segline_runtime.postprocess import decode
from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo, Specification

SMALLEST_BOX = 1.0
"""Pixels; a box that a crop left thinner than this has no area to learn from and turns the loss NaN."""


class InstanceTask:
    """See `segline.tasks.base.Task`.

    A batch: `images` list of uint8 `(3, h, w)`; `targets` list of {`boxes` float32 `(N, 4)` xyxy pixels, `labels` int64 `(N,)`, `masks` uint8 `(N, h, w)`}.
    """

    name = "instance"
    truth: Truth = "instances"
    metric = "mask_ap"
    resize: Literal["stretch", "shorter_side"] = "shorter_side"

    def build(self, model: Mapping[str, Any], specification: Specification) -> nn.Module:
        return architectures.build(
            model["arch"],
            classes=len(specification.classes),
            image_size=specification.image_size,
            mean=specification.mean,
            std=specification.std,
            **{name: model[name] for name in ("encoder", "weights", "anchors", "proposals", "score_threshold", "nms_threshold", "max_detections")},
        )

    def collate(self, samples: Sequence[Sample]) -> Batch:
        images = [torch.from_numpy(np.ascontiguousarray(sample.image.transpose(2, 0, 1))) for sample in samples]
        return {"images": images, "targets": [_target(sample) for sample in samples]}

    def to_device(self, batch: Batch, device: torch.device) -> Batch:
        images = [image.to(device, non_blocking=True) for image in batch["images"]]
        return {"images": images, "targets": [{k: v.to(device, non_blocking=True) for k, v in target.items()} for target in batch["targets"]]}

    def loss(self, network: nn.Module, batch: Batch, *, specification: Specification, model: Mapping[str, Any]) -> dict[str, Tensor]:  # noqa: ARG002
        parts: dict[str, Tensor] = network([image / 255 for image in batch["images"]], batch["targets"])
        return {**parts, "loss": torch.stack(list(parts.values())).sum()}

    def graph(self, network: nn.Module, specification: Specification) -> EvalGraph:
        return InstanceGraph(network, specification)

    def predict(self, graph: EvalGraph, specification: Specification, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        predictions: list[Prediction] = []
        for image in images:
            predictions += decode(specification, graph.run(image[None]), image.shape[:2])
        return predictions

    def scorer(self, classes: Sequence[ClassInfo]) -> InstanceScorer:
        return InstanceScorer(classes)


def _target(sample: Sample) -> dict[str, Tensor]:
    """Crowds teach nothing: torchvision has no way to leave them out of the loss other than not to show them."""
    assert sample.instances is not None
    found = sample.instances
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    keep = ~found.crowd & (sides >= SMALLEST_BOX).all(axis=1)
    return {
        "boxes": torch.from_numpy(found.boxes[keep].astype(np.float32)).reshape(-1, 4),
        "labels": torch.from_numpy(found.labels[keep].astype(np.int64)),
        "masks": torch.from_numpy(found.masks[keep].astype(np.uint8)),
    }
