"""`input.mean`, `input.std`: by what values become numbers around 0."""

from __future__ import annotations

from collections.abc import Sequence

from segline.models.imagenet import IMAGENET_STATISTICS

_SHIFTED = 1.75
"""Standard deviations of ImageNet's by which the mean of a channel may lie off its own: dark X-rays do, and still show the network something it knows."""

_FLAT, _HARSH = 0.25, 2.5
"""How much less, and how much more, than ImageNet's a channel's values may differ among themselves."""


def unlike_photographs(mean: Sequence[float], std: Sequence[float]) -> str | None:
    """Why weights that learnt from photographs would not know images with these statistics, three channels each; None where they would."""
    usual_mean, usual_std = IMAGENET_STATISTICS
    for channel, name in enumerate(("red", "green", "blue")):
        usual, spread = usual_mean[channel], usual_std[channel]
        if abs(mean[channel] - usual) > _SHIFTED * spread:
            return f"the training images' {name} is {mean[channel]:.3g} in the mean, and photographs' {usual:g}"
        if not _FLAT <= std[channel] / spread <= _HARSH:
            return f"the training images' {name} differs by {std[channel]:.3g} from its mean, and photographs' by {spread:g}"
    return None
