"""Augmentation where the training runs: images come from the loader with what chance has decided for each, and are changed on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from segline.data.store import IGNORE
from segline.tasks.learning import Picture
from segline.training.twins import Change, Size, Warp, moved
from segline_runtime.specification import ImageKind


class Prepared(NamedTuple):
    """An image as the loader leaves it, resized and transformed as far as it is the loader's, and what is still to be done."""

    picture: Picture  # on the CPU; values of the image kind
    changes: tuple[Change, ...]
    least: Size | None  # what a smaller picture is padded to


class PreparedBatch(NamedTuple):
    """A batch on its way to the device. No list: that is what batches of validation are."""

    images: tuple[Prepared, ...]


class DeviceAugmentation:
    """The second half of a `segline.training.augment.Augmentation`. Raises nothing: what can be wrong was found by the first half."""

    def __init__(self, image: ImageKind, padding: Sequence[float]) -> None:
        """padding: value per channel where an image does not reach, of the image's own scale."""
        self._image = image
        self._padding = tuple(padding)

    def __call__(self, batch: PreparedBatch, device: torch.device) -> list[Picture]:
        """The pictures, with float32 images of the same scale. Nothing here waits for the device."""
        return [self._changed(one, device) for one in batch.images]

    def _changed(self, prepared: Prepared, device: torch.device) -> Picture:
        image, mask, masks, labels, crowd = (None if value is None else value.to(device, non_blocking=True) for value in prepared.picture)
        assert image is not None and labels is not None and crowd is not None
        image = image.to(torch.float32)
        if prepared.changes:
            low, span = self._range(image, prepared.picture.image.dtype)
            image = (image - low) / span
            for change in _composed(prepared.changes):
                if isinstance(change, Warp):
                    image, mask, masks = moved(change, image, mask, masks, ignore=IGNORE, beyond=-low / span)
                else:
                    image = change(image)
            image = image * span + low
        if prepared.least is not None:
            image, mask, masks = self._padded(prepared.least, image, mask, masks)
        return Picture(image, mask, masks, labels, crowd)

    def _range(self, image: Tensor, dtype: torch.dtype) -> tuple[Any, Any]:
        """What is 0 to a transform, and how far white is from it: an image wider than its scale has a range of its own."""
        if dtype == torch.uint8:
            return 0.0, self._image.scale
        low = image.min().clamp(max=0.0)
        return low, image.max().clamp(min=self._image.scale) - low

    def _padded(self, least: Size, image: Tensor, mask: Tensor | None, masks: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        channels, height, width = image.shape
        below, right = max(least[0] - height, 0), max(least[1] - width, 0)
        if not (below or right):
            return image, mask, masks
        wider = torch.tensor(self._padding, device=image.device).expand(channels).view(-1, 1, 1).repeat(1, height + below, width + right)
        wider[:, :height, :width] = image
        mask = None if mask is None else functional.pad(mask, (0, right, 0, below), value=IGNORE)
        masks = None if masks is None else functional.pad(masks, (0, right, 0, below))
        return wider, mask, masks


def _composed(changes: Sequence[Change]) -> list[Change]:
    """Warps that follow each other as one: what is resampled once stays sharp."""
    found: list[Change] = []
    for change in changes:
        if isinstance(change, Warp) and found and isinstance(found[-1], Warp):
            found[-1] = change.after(found[-1])
        else:
            found.append(change)
    return found
