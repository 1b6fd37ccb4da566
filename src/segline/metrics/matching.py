"""Which predicted object is which true one, in one image. For per-image scores and pictures; average precision has COCO's own rules."""

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


def match(truth: Instances, prediction: InstancePrediction, mask_overlaps: NDArray[np.float64]) -> Matching:
    """By falling score, each confident prediction takes the free true object of its class with the best mask IoU, if that is at least MATCHED.

    mask_overlaps `(D, G)`: see `segline.metrics.overlaps`.
    """
    free = set(np.flatnonzero(~truth.crowd).tolist())
    near: list[list[int]] = [[] for _ in prediction.scores]
    for p, t in np.argwhere(mask_overlaps >= MATCHED).tolist():
        near[p].append(t)
    confident = int(np.count_nonzero(prediction.scores >= CONFIDENT))
    pairs, ious, wrong = [], [], []
    for p in np.argsort(-prediction.scores, kind="stable")[:confident].tolist():
        candidates = [t for t in near[p] if t in free]
        if candidates:
            best = max(candidates, key=lambda t: (mask_overlaps[p, t], -t))
            free.remove(best)
            pairs.append((best, p))
            ious.append(float(mask_overlaps[p, best]))
        elif not truth.crowd[near[p]].any():
            wrong.append(p)
    return Matching(pairs, ious, sorted(free), wrong)
