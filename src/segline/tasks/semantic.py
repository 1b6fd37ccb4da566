"""Semantic segmentation: a class for each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segline.data.store import Sample, Truth
from segline.losses.combined import combined
from segline.metrics.semantic import SemanticScorer
from segline.models.semantic import registry as architectures
from segline.tasks.base import Batch
from segline.tasks.graphs import EvalGraph, SemanticGraph
from segline_runtime.postprocess import decode
from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo, Specification


class SemanticTask:
    """See `segline.tasks.base.Task`. A batch: `images` uint8 `(B, 3, h, w)`, `masks` int64 `(B, h, w)`."""

    name = "semantic"
    truth: Truth = "index"
    metric = "miou"
    resize: Literal["stretch", "shorter_side"] = "stretch"

    def build(self, model: Mapping[str, Any], specification: Specification) -> nn.Module:
        return architectures.build(
            model["arch"],
            encoder=model["encoder"],
            weights=model["weights"],
            channels=len(specification.mean),
            classes=len(specification.classes),
        )

    def collate(self, samples: Sequence[Sample]) -> Batch:
        images = np.stack([sample.image for sample in samples]).transpose(0, 3, 1, 2)
        masks = np.stack([sample.mask for sample in samples if sample.mask is not None])
        return {"images": torch.from_numpy(np.ascontiguousarray(images)), "masks": torch.from_numpy(masks.astype(np.int64))}

    def to_device(self, batch: Batch, device: torch.device) -> Batch:
        return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}

    def loss(self, network: nn.Module, batch: Batch, *, specification: Specification, model: Mapping[str, Any]) -> dict[str, Tensor]:
        images = batch["images"]
        mean, std = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in (specification.mean, specification.std))
        normalised = ((images / 255 - mean) / std).contiguous(memory_format=_format_of(network))
        return combined(network(normalised).float(), batch["masks"], model["loss"])

    def graph(self, network: nn.Module, specification: Specification) -> EvalGraph:
        return SemanticGraph(network, specification)

    def predict(self, graph: EvalGraph, specification: Specification, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        predictions: list[Prediction | None] = [None] * len(images)
        for size in dict.fromkeys(image.shape[:2] for image in images):
            same = [i for i, image in enumerate(images) if image.shape[:2] == size]
            outputs = graph.run(np.stack([images[i] for i in same]))
            for i, prediction in zip(same, decode(specification, outputs, size), strict=True):
                predictions[i] = prediction
        return [prediction for prediction in predictions if prediction is not None]

    def scorer(self, classes: Sequence[ClassInfo]) -> SemanticScorer:
        return SemanticScorer(classes)


def _format_of(network: nn.Module) -> torch.memory_format:
    """channels_last where the network's weights are: mixing formats costs a copy in each layer."""
    weights = (p for p in network.parameters() if p.dim() == 4 and p.shape[1] > 1)
    last = any(p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous() for p in weights)
    return torch.channels_last if last else torch.contiguous_format
