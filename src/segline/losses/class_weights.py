"""Weights of classes from the training data's own counts, so that rare classes count.

balanced           all pixels / (classes present · pixels of the class): inverse frequency
median_frequency   median of the frequencies / frequency, where a class's frequency is its pixels over the pixels of the images that contain it
                   (SegNet, Badrinarayanan 2015)
enet               1 / ln(1.02 + share of all pixels) (ENet, Paszke 2016)

`auto` is one of these words, which the plan decides by the same counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from segline.errors import ParametersError
from segline.settings import NotNegative

ClassWeights = Literal["none", "balanced", "median_frequency", "enet", "auto"] | list[NotNegative]

_ENET_OFFSET = 1.02


def class_weights(choice: ClassWeights, pixels: Sequence[int], image_pixels: Sequence[int]) -> tuple[float, ...] | None:
    """One weight per class id, or None for `none`.

    pixels: of each class in the training split; image_pixels: of the images that contain the class.
    A class that never occurs has the weight 1: no pixel asks for it.
    Raises ParametersError when a given list is not as long as there are classes.
    """
    assert choice != "auto", "the plan has decided it"
    if choice == "none":
        return None
    if isinstance(choice, list):
        if len(choice) != len(pixels):
            raise ParametersError(f"class_weights has {len(choice)} numbers, and the data has {len(pixels)} classes; give one number per class, by id.")
        return tuple(float(value) for value in choice)
    counts, containing = np.asarray(pixels, dtype=np.float64), np.asarray(image_pixels, dtype=np.float64)
    present = counts > 0
    if not present.any():
        return (1.0,) * len(pixels)
    weights = np.ones(len(counts))
    if choice == "balanced":
        weights[present] = counts.sum() / (present.sum() * counts[present])
    elif choice == "median_frequency":
        frequencies = counts[present] / containing[present]
        weights[present] = np.median(frequencies) / frequencies
    else:
        weights[present] = 1 / np.log(_ENET_OFFSET + counts[present] / counts.sum())
    return tuple(round(float(value), 6) for value in weights)
