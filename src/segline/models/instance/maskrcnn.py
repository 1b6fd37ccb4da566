"""Mask R-CNN (He 2017) with a feature pyramid, from torchvision.

The parts as the papers name them: the backbone's pyramid levels P2…P6 (stride 4…64); the region proposal network scores anchors and
proposes boxes; RoIAlign samples each proposal bilinearly; the box head gives class and box, the mask head one 28×28 mask per class,
of which the predicted class's is taken.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models import get_model_weights, mobilenet, resnet
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import mobilenet_backbone, resnet_fpn_backbone
from torchvision.ops.misc import FrozenBatchNorm2d

from segline.models import weights as starting

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2")
MOBILENETS = {"mobilenet_v3_large": [1, 2, 3, 5], "mobilenet_v3_small": [0, 1, 2, 4]}
"""Stages whose outputs have stride 4, 8, 16 and 32."""

_ALL_LAYERS = {"resnet": 5, "mobilenet": 6}


def build(
    *,
    encoder: str,
    weights: str,
    classes: int,
    image_size: tuple[int, int],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    anchors: dict[str, list[float]],
    proposals: dict[str, int],
    score_threshold: float,
    nms_threshold: float,
    max_detections: int,
) -> MaskRCNN:
    """torchvision's MaskRCNN. In training: list of images `(3, h, w)` in 0…1 and targets → dict of losses; in eval mode: → detections.

    `classes` counts the background (class 0). The network resizes by itself: shorter side to `min(image_size)`, longer at most `max(image_size)`.
    Raises ModelError for an unknown encoder or weights that cannot be had.
    """
    backbone = _backbone(encoder, weights)
    generator = AnchorGenerator(tuple((size,) for size in anchors["sizes"]), (tuple(anchors["ratios"]),) * len(anchors["sizes"]))
    return MaskRCNN(
        backbone,
        num_classes=classes,
        min_size=min(image_size),
        max_size=max(image_size),
        image_mean=list(mean),
        image_std=list(std),
        rpn_anchor_generator=generator,
        rpn_pre_nms_top_n_train=proposals["train_before_nms"],
        rpn_post_nms_top_n_train=proposals["train_after_nms"],
        rpn_pre_nms_top_n_test=proposals["test_before_nms"],
        rpn_post_nms_top_n_test=proposals["test_after_nms"],
        rpn_batch_size_per_image=proposals["rpn_batch"],
        box_batch_size_per_image=proposals["box_batch"],
        box_score_thresh=score_threshold,
        box_nms_thresh=nms_threshold,
        box_detections_per_img=max_detections,
    )


def _backbone(encoder: str, weights: str) -> nn.Module:
    if encoder not in RESNETS and encoder not in MOBILENETS:
        raise starting.unknown("Mask R-CNN encoder", encoder, [*RESNETS, *MOBILENETS])
    # Batches are too small for good statistics: pre-trained ones are kept frozen; from scratch there is nothing to freeze.
    norm: type[nn.Module] = nn.BatchNorm2d if weights == starting.NONE else FrozenBatchNorm2d
    pretrained = get_model_weights(encoder)["DEFAULT"] if weights == starting.IMAGENET else None
    arguments: dict[str, Any] = {"backbone_name": encoder, "weights": pretrained, "norm_layer": norm}
    backbone: nn.Module
    try:
        if encoder in MOBILENETS:
            backbone = mobilenet_backbone(**arguments, fpn=True, trainable_layers=_ALL_LAYERS["mobilenet"], returned_layers=MOBILENETS[encoder])
        else:
            backbone = resnet_fpn_backbone(**arguments, trainable_layers=_ALL_LAYERS["resnet"])
    except OSError as error:
        raise starting.unreachable(encoder, error) from None
    if weights not in (starting.IMAGENET, starting.NONE):
        whole = (resnet if encoder in RESNETS else mobilenet).__dict__[encoder](weights=None, norm_layer=norm)
        part = whole if encoder in RESNETS else whole.features
        if encoder in RESNETS:
            del whole.fc
        starting.load_encoder(part, weights)
        body = backbone.body
        assert isinstance(body, nn.Module)
        body.load_state_dict(part.state_dict())
    return backbone
