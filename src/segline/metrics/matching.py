"""Which predicted object is which true one, in one image. For per-image scores and pictures; average precision is pycocotools' own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segline.data.store import Instances
from segline_runtime.predictions import InstancePrediction

CONFIDENT = 0.5
"""Score from which a predicted object counts as claimed: weaker ones matter to average precision, which ranks them, and not here."""

MATCHED = 0.5
"""Mask IoU from which a predicted object is a true one."""


@dataclass(frozen=True)
class Matching:
    """Indices into the truth (`missed`, first of `pairs`) and into the prediction (`wrong`, second of `pairs`).

    Crowds are in none of them, nor are predictions below CONFIDENT and predictions that lie in a crowd of their class.
    """

    pairs: list[tuple[int, int]]
    ious: list[float]  # of the pairs
    missed: list[int]
    wrong: list[int]

    @property
    def score(self) -> float:
        """Panoptic quality over all classes together: Σ IoU of the pairs / (TP + ½ FP + ½ FN); 1 where there is nothing to find and nothing was found."""
        total = len(self.pairs) + (len(self.missed) + len(self.wrong)) / 2
        return sum(self.ious) / total if total else 1.0


def match(truth: Instances, prediction: InstancePrediction) -> Matching:
    """By falling score, each confident prediction takes the free true object of its class with the best mask IoU, if that is at least MATCHED."""
    claimed = [int(i) for i in np.argsort(-prediction.scores, kind="stable") if prediction.scores[i] >= CONFIDENT]
    shared, true_areas, areas = overlaps(truth.masks, prediction.masks)
    union = true_areas[:, None] + areas[None, :] - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    free = set(np.flatnonzero(~truth.crowd).tolist())
    pairs, ious, wrong = [], [], []
    for p in claimed:
        same = truth.labels == prediction.labels[p]
        candidates = [t for t in free if same[t] and iou[t, p] >= MATCHED]
        if candidates:
            best = max(candidates, key=lambda t: (iou[t, p], -t))
            free.remove(best)
            pairs.append((best, p))
            ious.append(float(iou[best, p]))
        elif not (shared[same & truth.crowd, p] >= MATCHED * max(areas[p], 1)).any():
            wrong.append(p)
    return Matching(pairs, ious, sorted(free), wrong)


def overlaps(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Pixels shared by each pair of two stacks of masks `(N, H, W)`, `(M, H, W)` → `(N, M)`, and the areas `(N,)`, `(M,)`."""
    a, b = (m.reshape(len(m), m.shape[1] * m.shape[2]).astype(np.float32) for m in (first, second))
    return (a @ b.T).astype(np.float64), a.sum(axis=1).astype(np.float64), b.sum(axis=1).astype(np.float64)
