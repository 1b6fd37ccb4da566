"""The loss of validation images: where it rises while the training's falls, the network learns its images by heart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from segline.data.store import Sample
from segline.tasks.base import Task
from segline.tasks.graph import evaluating
from segline.tasks.learning import Learning
from segline.training.augment import Augmentation, cut
from segline.training.truth_maps import TruthMaps
from segline_runtime.geometry import windows
from segline_runtime.specification import Specification


class ValidationLoss:
    """The mean over images, in fp32, of the loss in eval mode, of each image as the network sees it: resized, and neither transformed nor cropped.

    Auxiliary outputs exist in training alone, so it is the loss of the main output. Images that the geometry gives one size go through the network together,
    others one by one; of one that is predicted by windows it is the mean over its windows.
    """

    def __init__(
        self, network: nn.Module, criterion: nn.Module | None, *, task: Task, learning: Learning, specification: Specification, maps: TruthMaps | None = None
    ) -> None:
        self._network, self._criterion = network, criterion
        self._learning, self._specification = learning, specification
        padding = [value * specification.image.scale for value in specification.mean]
        self._fitted = Augmentation((), geometry=specification.geometry, truth=task.truths[0], image=specification.image, padding=padding, maps=maps)
        self.reset()

    def reset(self) -> None:
        """Begin anew, with no image."""
        self._sum = 0.0
        self._images = 0

    def add(self, samples: Sequence[Sample], device: torch.device, seed: int) -> None:
        """seed: of what the loss samples at random. The training's random state is left as it is."""
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            if self._specification.geometry.fit in ("stretch", "letterbox"):
                self._sum += len(samples) * self._loss([self._fitted(sample, seed) for sample in samples], device)
            else:
                for sample in samples:
                    self._sum += self._loss_of(self._fitted(sample, seed), device)
        self._images += len(samples)

    def state(self) -> tuple[float, int]:
        """What one process adds to the mean: the sum, and the number of images."""
        return self._sum, self._images

    def merge(self, state: tuple[float, int]) -> None:
        self._sum += state[0]
        self._images += state[1]

    def mean(self) -> float:
        """NaN where there was no image."""
        return self._sum / self._images if self._images else float("nan")

    def _loss_of(self, sample: Sample, device: torch.device) -> float:
        tile = self._specification.geometry.tile
        if tile is None:
            return self._loss([sample], device)
        parts = cut(sample, windows((sample.image.shape[0], sample.image.shape[1]), tile))
        return sum(self._loss([part], device) for part in parts) / len(parts)

    @torch.no_grad()
    def _loss(self, samples: Sequence[Sample], device: torch.device) -> float:
        batch = self._learning.to_device(self._learning.collate(samples), device)
        with evaluating(self._network), torch.autocast(device.type, enabled=False):
            return float(self._learning.losses(self._network, self._criterion, batch, self._specification)["loss"])
