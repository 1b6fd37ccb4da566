"""How far two sets of detections for one image are apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segline_runtime.instance import InstancePrediction

_SAME_OBJECT = 0.5  # box IoU


def disagreement(first: InstancePrediction, second: InstancePrediction) -> dict[str, float]:
    """Detections are matched by label and box, as near ties swap their order.

    `box_px`: largest distance of a box edge, pixels; `score`: largest difference; `mask_iou_loss`: largest 1 − IoU of the masks (all over matched
    pairs); `unmatched`: detections without a partner; `unmatched_score`: the highest score of one; `nothing_matched`: 1 where both have detections, and no
    two of them match. What is undefined (NaN) in a detection is so in its figure.
    """
    pairs = match(first, second)
    edges, differences, losses = [0.0], [0.0], [0.0]
    for i, j in pairs:
        edges.append(float(np.abs(first.boxes[i] - second.boxes[j]).max()))
        differences.append(abs(float(first.scores[i]) - float(second.scores[j])))
        losses.append(1 - _mask_iou(first.masks[i], second.masks[j]))
    scores = np.concatenate([first.scores, second.scores])
    alone = np.ones(len(scores), dtype=np.bool_)
    for i, j in pairs:
        alone[[i, len(first.scores) + j]] = False
    return {
        "box_px": float(np.max(edges)),  # numpy's maximum keeps a NaN, Python's may lose it
        "score": float(np.max(differences)),
        "mask_iou_loss": float(np.max(losses)),
        "unmatched": float(alone.sum()),
        "unmatched_score": float(scores[alone].max(initial=0.0)),
        "nothing_matched": float(len(first.scores) > 0 and len(second.scores) > 0 and not pairs),
    }


def match(first: InstancePrediction, second: InstancePrediction) -> list[tuple[int, int]]:
    """Pairs (index in `first`, index in `second`) of one label with a box IoU of at least 0.5, the best overlaps first, each detection once."""
    overlaps = _box_iou(first.boxes, second.boxes) * (first.labels[:, None] == second.labels[None, :])
    pairs: list[tuple[int, int]] = []
    taken_first: set[int] = set()
    taken_second: set[int] = set()
    candidates = np.argwhere(overlaps >= _SAME_OBJECT)
    for i, j in candidates[np.argsort(-overlaps[tuple(candidates.T)], kind="stable")].tolist():
        if i not in taken_first and j not in taken_second:
            pairs.append((i, j))
            taken_first.add(i)
            taken_second.add(j)
    return pairs


def _box_iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """IoU of boxes xyxy `(N, 4)` and `(M, 4)` as `(N, M)`; boxes without area have IoU 0."""
    a, b = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    common = sides.prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - common
    return np.where(union > 0, common / np.where(union > 0, union, 1), 0.0)


def _mask_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    union = int((first | second).sum())
    return float((first & second).sum() / union) if union else 1.0
