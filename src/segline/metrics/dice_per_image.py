"""Mean over images of each image's own mean Dice; an image of which no pixel is scored takes no part."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.dice import dice
from segline.metrics.pixel_counts import ClassPixels, Sums
from segline_runtime.specification import ClassInfo


def image_scores(counts: ClassPixels) -> Values:
    """Each image's mean Dice over the classes of its truth and its prediction `(N,)`; NaN where no pixel is scored."""
    return class_scores.means(dice(Sums(*(part.astype(np.float64) for part in (counts.tp, counts.truth, counts.predicted)))))


class DicePerImage:
    """`mdice_per_image`."""

    counts = "pixels"
    headline = "mdice_per_image"

    def scores(self, counts: ClassPixels) -> Values:
        """Of each image `(N,)`; NaN for those that take no part."""
        return image_scores(counts)

    def figures(self, counts: ClassPixels, classes: Sequence[ClassInfo]) -> dict[str, float]:  # noqa: ARG002
        scores = self.scores(counts)
        scored = scores[~np.isnan(scores)]
        # fsum is exact, so the order of the images cannot show.
        return {"mdice_per_image": math.fsum(scored) / len(scored)} if len(scored) else {}

    def resampled(self, counts: ClassPixels, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:  # noqa: ARG002
        if key != "mdice_per_image":
            return None
        scores = self.scores(counts)
        times = weights.astype(np.float64)
        return class_scores.ratio(times @ np.nan_to_num(scores), times @ ~np.isnan(scores))


METRIC: Metric = DicePerImage()
