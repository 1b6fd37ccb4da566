"""What one would write without Segline: U-Net of segmentation_models_pytorch in a Lightning module, and torchvision's detection loop, at their defaults.

They read the same prepared images with the same decoder, at the same size, in batches of the same size and with as many loader processes, and flip them as the
line does, so that the loops are compared and not the data. Lightning's defaults: fp32, as torch computes it by default; torchvision's reference: SGD, its own
resizing, a check of the loss in each step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import albumentations
import numpy as np
import segmentation_models_pytorch as smp
import torch
from albumentations.pytorch import ToTensorV2
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import maskrcnn_resnet50_fpn

from segline.data.store import Sample

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SemanticImages(Dataset[tuple[Tensor, Tensor]]):
    """Normalised images `(3, h, w)` and class ids `(h, w)`."""

    def __init__(self, images: Sequence[Sample], size: tuple[int, int]) -> None:
        self._images = images
        self._transform = albumentations.Compose(
            [albumentations.Resize(*size), albumentations.HorizontalFlip(p=0.5), albumentations.Normalize(MEAN, STD), ToTensorV2()]
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self._images[index]
        found = self._transform(image=sample.image, mask=np.array(sample.mask))
        return found["image"], found["mask"].long()


class PlainUnet(LightningModule):
    """The script of many a tutorial."""

    def __init__(self, encoder: str, classes: int) -> None:
        super().__init__()
        self.model = smp.Unet(encoder, encoder_weights=None, in_channels=3, classes=classes)
        self.cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=255)
        self.dice = smp.losses.DiceLoss("multiclass", ignore_index=255)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:  # noqa: ARG002
        images, masks = batch
        logits = self.model(images)
        loss: Tensor = self.cross_entropy(logits, masks) + self.dice(logits, masks)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def semantic_loader(images: Sequence[Sample], size: tuple[int, int], batch_size: int, workers: int, *, pin: bool) -> DataLoader[Any]:
    return DataLoader(
        SemanticImages(images, size), batch_size, shuffle=True, num_workers=workers, drop_last=True, pin_memory=pin, persistent_workers=workers > 0
    )


class InstanceImages(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Images `(3, H, W)` in 0…1 at their own size, and their objects, as torchvision's detectors take them."""

    def __init__(self, images: Sequence[Sample]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        sample = self._images[index]
        assert sample.instances is not None
        image = torch.from_numpy(np.ascontiguousarray(sample.image.transpose(2, 0, 1))).float() / 255
        boxes, masks = torch.from_numpy(sample.instances.boxes), torch.from_numpy(sample.instances.masks.astype(np.uint8))
        if torch.rand(()) < 0.5:
            width = image.shape[2]
            image, masks = image.flip(2), masks.flip(2)
            boxes = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)
        return image, {"boxes": boxes, "labels": torch.from_numpy(sample.instances.labels), "masks": masks}


def instance_loader(images: Sequence[Sample], batch_size: int, workers: int) -> DataLoader[Any]:
    return DataLoader(
        InstanceImages(images), batch_size, shuffle=True, num_workers=workers, drop_last=True, collate_fn=_together, persistent_workers=workers > 0
    )


def _together(batch: Any) -> Any:
    return tuple(zip(*batch, strict=True))


def detector(classes: int, size: tuple[int, int], **more: int) -> torch.nn.Module:
    """torchvision's Mask R-CNN with a ResNet-50 pyramid, from scratch; `size`: its shorter side, and the most of its longer; `more`: its own arguments."""
    network: torch.nn.Module = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=classes, min_size=min(size), max_size=max(size), **more)
    return network


class DetectionLoop:
    """A step as in torchvision's references/detection/engine.py."""

    def __init__(self, network: torch.nn.Module, device: str, *, autocast: bool) -> None:
        self._network = network.to(device).train()
        self._device, self._autocast = device, autocast
        weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.SGD(weights, lr=0.0025, momentum=0.9, weight_decay=1e-4)  # 0.02 is for eight GPUs of two images

    def step(self, images: Any, targets: Any) -> None:
        on_device = [image.to(self._device) for image in images]
        truth = [{name: value.to(self._device) for name, value in target.items()} for target in targets]
        with torch.autocast(self._device, dtype=torch.bfloat16, enabled=self._autocast):
            losses = self._network(on_device, truth)
            total = sum(losses.values())
        value = total.item()
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value}")
        self._optimizer.zero_grad()
        total.backward()
        self._optimizer.step()
