"""How well masks could be, had a Mask R-CNN learnt perfectly: true boxes, the targets of the mask head taken for its answer, pasted into the image.

    python benchmarks/mask_ceiling.py NAME FOLDER [NAME FOLDER ...]        (each a prepared data set, as `data/prepared` after `dvc repro`)

Objects are seen as large as they are, and at half the size. Two ways, over the same objects, up to 500 of a set's scored split:
`segline`, pixel centres at half numbers throughout, and `torchvision`, its targets (`project_masks_on_boxes`) and its paste (`paste_masks_in_image`).
Figures are mean IoU and mask AP, over all objects and over small ones (below 32² pixels). The result is `benchmarks/mask_ceiling.json`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import results
import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image, project_masks_on_boxes

from segline.data.store import PreparedDataset, Sample
from segline.metrics import mask_ap
from segline.metrics.instance import InstanceScorer
from segline.models.maskrcnn.masks import mask_targets
from segline_runtime.instance import InstancePrediction, paste_masks
from segline_runtime.specification import ClassInfo

OBJECTS = 500
SIDE = 28
SCALES = (1.0, 0.5)
SMALL = 32**2  # pixels, as COCO has it

Way = Callable[[Tensor, Tensor, np.ndarray, tuple[int, int]], np.ndarray]
"""Masks `(N, h, w)` and boxes `(N, 4)` as the network sees them, boxes of the image and its size → masks `(N, H, W)`."""


def segline(masks: Tensor, boxes: Tensor, image_boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return paste_masks(mask_targets(masks, boxes, torch.arange(len(boxes)), SIDE).numpy(), image_boxes, size)


def torchvision(masks: Tensor, boxes: Tensor, image_boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    grids = project_masks_on_boxes(masks, boxes, torch.arange(len(boxes)), SIDE)
    pasted: np.ndarray = paste_masks_in_image(grids[:, None], torch.from_numpy(image_boxes), size)[:, 0].numpy() > 0.5
    return pasted


WAYS: dict[str, Way] = {"segline": segline, "torchvision": torchvision}


def main(folders: dict[str, Path]) -> None:
    sets = {name: measured(PreparedDataset(folder)) for name, folder in folders.items()}
    results.write(results.beside(__file__), {"sets": sets})


def measured(dataset: PreparedDataset) -> dict[str, object]:
    """The figures of both ways at each scale."""
    samples: list[Sample] = []
    objects = 0
    for sample in dataset.split(dataset.info.scored, ["instances"]):
        assert sample.instances is not None
        if len(sample.instances) and objects < OBJECTS:
            samples.append(sample)
            objects += int((~sample.instances.crowd).sum())
    found: dict[str, object] = {"images": len(samples), "objects": objects}
    for scale in SCALES:
        found[f"seen at {scale:g}"] = {name: _figures(samples, dataset.info.classes, way, scale) for name, way in WAYS.items()}
    return found


def _figures(samples: list[Sample], classes: tuple[ClassInfo, ...], way: Way, scale: float) -> dict[str, float]:
    scorer = InstanceScorer(classes)
    overlaps, areas = [], []
    for sample in samples:
        truth = sample.instances
        assert truth is not None
        kept = np.flatnonzero(~truth.crowd)
        masks, size = truth.masks[kept], (sample.image.shape[0], sample.image.shape[1])
        seen = [cv2.resize(mask.astype(np.uint8), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST_EXACT) for mask in masks]
        height, width = seen[0].shape
        boxes = truth.boxes[kept] * np.array([width / size[1], height / size[0]] * 2, np.float32)
        pasted = way(torch.from_numpy(np.stack(seen)), torch.from_numpy(boxes), truth.boxes[kept], size)
        scorer.add(InstancePrediction(np.ones(len(kept), np.float32), truth.labels[kept], truth.boxes[kept], pasted), sample)
        both, either = (pasted & masks).sum(axis=(1, 2)), (pasted | masks).sum(axis=(1, 2))
        overlaps.append(both / either)
        areas.append(masks.sum(axis=(1, 2)))
    small = np.concatenate(areas) < SMALL
    iou = np.concatenate(overlaps)
    figures = mask_ap.METRIC.figures(scorer.counts(), classes)
    told = {"mask_ap": figures["mask_ap"], "mask_ap_small": figures.get("mask_ap_small", float("nan")), "mean_iou": float(iou.mean())}
    if small.any():
        told["mean_iou_small"] = float(iou[small].mean())
    return {name: round(value, 4) for name, value in told.items()}


if __name__ == "__main__":
    main(dict(zip(sys.argv[1::2], map(Path, sys.argv[2::2]), strict=True)))
