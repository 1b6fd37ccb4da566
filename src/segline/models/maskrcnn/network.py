"""Mask R-CNN (He 2017) with a feature pyramid, from torchvision.

The parts as the papers name them: the backbone's pyramid levels P2…P6 (stride 4…64); the region proposal network scores anchors and
proposes boxes; RoIAlign samples each proposal bilinearly; the box head gives class and box, the mask head one 28×28 mask per class,
of which the predicted class's is taken.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights, mobilenet, resnet
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import mobilenet_backbone, resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import fastrcnn_loss, maskrcnn_inference
from torchvision.ops.boxes import batched_nms
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool
from torchvision.ops.misc import FrozenBatchNorm2d

from segline.models import encoders
from segline.models.imagenet import IMAGENET_STATISTICS, Statistics
from segline.models.maskrcnn.masks import mask_loss
from segline.models.maskrcnn.pooling import Pooling
from segline.models.maskrcnn.settings import Settings
from segline.models.norm import to_group_norm

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2")
MOBILENETS = {"mobilenet_v3_large": [1, 2, 3, 5], "mobilenet_v3_small": [1, 2, 3, 5]}
"""Stages whose outputs have stride 4, 8, 16 and 32."""

_ALL_LAYERS = {"resnet": 5, "mobilenet": 6}

_PAPERS_CHANNELS = 256
"""Of the pyramid and the mask head, which torchvision builds."""

_MASK_HEAD_LAYERS = 4

_BOX_BINS, _MASK_BINS = 7, 14
"""Along each side of the grids to which proposals are pooled for the box head and the mask head."""


class Look(NamedTuple):
    """One look of a network at one image."""

    features: dict[str, Tensor]  # levels `(1, C, h', w')` of the pyramid by name
    batch: Tensor  # (1, C, h', w'), the image padded to the network's stride
    size: tuple[int, int]  # height and width of the image's content in it


class InstanceNetwork(nn.Module):
    """torchvision's detector without its own resizing and normalisation: the line's geometry has done both.

    Legend: C channels, h × w pixels of the network's input, N objects or detections. Boxes are xyxy in pixels of that input; label 0 is the background.
    """

    def __init__(self, network: MaskRCNN) -> None:
        super().__init__()
        self.network = network
        # Anchors, proposals and targets take the type of what they are made from, and bfloat16 has 8 bits: whole pixels alone from 128 on.
        for part in (network.backbone, network.rpn.head, network.roi_heads.box_predictor, network.roi_heads.mask_predictor):
            assert isinstance(part, nn.Module)
            part.register_forward_hook(_in_full_precision)

    @property
    def encoder(self) -> nn.Module | None:
        body = self.network.backbone.body
        assert isinstance(body, nn.Module)
        return body

    def loss(self, images: Sequence[Tensor], targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Normalised images `(C, h, w)`, which may differ in size, and their `boxes` `(N, 4)`, `labels` `(N,)`, `masks` `(N, h, w)` → named losses.

        In eval mode too: norms then keep their statistics.
        """
        sizes = [(int(image.shape[1]), int(image.shape[2])) for image in images]
        batch = ImageList(self.network.transform.batch_images(list(images)), sizes)
        features = self.network.backbone(batch.tensors)
        with _teaching(self.network.rpn, self.network.roi_heads):
            proposals, losses = self.network.rpn(batch, features, list(targets))
            return {**losses, **self._head_losses(features, proposals, sizes, targets)}

    def _head_losses(
        self, features: Mapping[str, Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]], targets: Sequence[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """What torchvision's RoIHeads do in training, with mask targets of our own."""
        heads: Any = self.network.roi_heads
        sampled, objects, labels, offsets = heads.select_training_samples(proposals, list(targets))
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, sampled, sizes)))
        loss_classifier, loss_box = fastrcnn_loss(logits, deltas, labels, offsets)
        hits = [torch.where(label > 0)[0] for label in labels]
        hit_boxes = [boxes[hit] for boxes, hit in zip(sampled, hits, strict=True)]
        hit_objects = [matched[hit] for matched, hit in zip(objects, hits, strict=True)]
        masks = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, hit_boxes, sizes)))
        return {"loss_classifier": loss_classifier, "loss_box_reg": loss_box, "loss_mask": mask_loss(masks, hit_boxes, targets, hit_objects)}

    # What follows is what MaskRCNN.forward does, without the paste of transform.postprocess, and cut where several looks at an image can be joined.

    def look(self, image: Tensor, size: tuple[int, int]) -> Look:
        """What boxes and masks are made of, from one normalised image `(C, h, w)` whose content fills `size`."""
        batch = self.network.transform.batch_images([image])
        return Look(self.network.backbone(batch), batch, size)

    def boxes(self, seen: Look) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes float32 `(N, 4)`, labels int64 `(N,)` and scores float32 `(N,)`, by falling score."""
        heads: Any = self.network.roi_heads
        proposals, _ = self.network.rpn(ImageList(seen.batch, [seen.size]), seen.features)
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(seen.features, proposals, [seen.size])))
        [boxes], [scores], [labels] = heads.postprocess_detections(logits, deltas, proposals, [seen.size])
        return boxes.float(), labels, scores.float()

    def masks(self, seen: Look, boxes: Tensor, labels: Tensor) -> Tensor:
        """The masks of boxes `(N, 4)` for their labels `(N,)`, wherever those come from: float32 `(N, 28, 28)` in 0…1."""
        heads: Any = self.network.roi_heads
        logits = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(seen.features, [boxes], [seen.size])))
        masks: Tensor = maskrcnn_inference(logits, [labels])[0][:, 0]
        return masks.float()

    def strongest(self, boxes: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        """Which of some detections are kept, `(n,)`, by falling score: of those of one class that overlap the strongest, and the best of an image."""
        heads: Any = self.network.roi_heads
        kept: Tensor = batched_nms(boxes, scores, labels, heads.nms_thresh)
        return kept[: heads.detections_per_img]


def build(settings: Settings, *, channels: int, classes: int) -> InstanceNetwork:
    """A detector of `classes` kinds, the background (class 0) counted. Raises ModelError for an unknown encoder or weights that cannot be had."""
    anchors, proposals, predict = settings.anchors, settings.proposals, settings.predict
    levels = len(anchors.sizes)
    network = MaskRCNN(
        _backbone(settings, channels),
        num_classes=classes,
        rpn_anchor_generator=AnchorGenerator(tuple((size,) for size in anchors.sizes), (tuple(anchors.ratios),) * levels),
        rpn_pre_nms_top_n_train=proposals.train_before_nms,
        rpn_post_nms_top_n_train=proposals.train_after_nms,
        rpn_pre_nms_top_n_test=proposals.test_before_nms,
        rpn_post_nms_top_n_test=proposals.test_after_nms,
        rpn_batch_size_per_image=proposals.rpn_batch,
        box_batch_size_per_image=proposals.box_batch,
        box_score_thresh=predict.score_threshold,
        box_nms_thresh=predict.nms_threshold,
        box_detections_per_img=predict.max_detections,
        box_roi_pool=Pooling(_BOX_BINS),
        mask_roi_pool=Pooling(_MASK_BINS),
    )
    heads = network.roi_heads
    if settings.fpn_channels != _PAPERS_CHANNELS:
        heads.mask_head = MaskRCNNHeads(settings.fpn_channels, (settings.fpn_channels,) * _MASK_HEAD_LAYERS, dilation=1)
        heads.mask_predictor = MaskRCNNPredictor(settings.fpn_channels, settings.fpn_channels, classes)
    return InstanceNetwork(network)


def statistics(settings: Settings) -> Statistics | None:
    """Mean and standard deviation that the encoder's weights expect: torchvision trained all of its own with ImageNet's."""
    return None if settings.weights == encoders.NONE else IMAGENET_STATISTICS


@contextmanager
def _teaching(*parts: nn.Module) -> Iterator[None]:
    """Run the block with the flags of `parts` alone in training mode, by which torchvision compares with the truth; what lies in them keeps its mode."""
    evaluated = [part for part in parts if not part.training]
    for part in evaluated:
        part.training = True
    try:
        yield
    finally:
        for part in evaluated:
            part.training = False


def _in_full_precision(_module: nn.Module, _inputs: Any, outputs: Any) -> Any:
    """What a part of the network gives, as float32: a tensor, or named or listed ones. Without mixed precision nothing changes."""
    if isinstance(outputs, Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return OrderedDict((name, value.float()) for name, value in outputs.items())
    return type(outputs)(_in_full_precision(_module, _inputs, value) for value in outputs)


def _norm(settings: Settings) -> type[nn.Module]:
    # Batches are too small for good statistics: pre-trained ones are kept frozen; from scratch there is nothing to freeze.
    frozen = settings.norm == "frozen" or (settings.norm == "auto" and settings.weights != encoders.NONE)
    return FrozenBatchNorm2d if frozen else nn.BatchNorm2d


def _backbone(settings: Settings, channels: int) -> nn.Module:
    encoder, weights = settings.encoder, settings.weights
    if encoder not in RESNETS and encoder not in MOBILENETS:
        raise encoders.unknown("Mask R-CNN encoder", encoder, [*RESNETS, *MOBILENETS])
    norm = _norm(settings)
    pretrained = get_model_weights(encoder)["DEFAULT"] if weights == encoders.IMAGENET else None
    arguments: dict[str, Any] = {"backbone_name": encoder, "weights": pretrained, "norm_layer": norm}
    backbone: nn.Module
    try:
        if encoder in MOBILENETS:
            backbone = mobilenet_backbone(**arguments, fpn=True, trainable_layers=_ALL_LAYERS["mobilenet"], returned_layers=MOBILENETS[encoder])
        else:
            backbone = resnet_fpn_backbone(**arguments, trainable_layers=_ALL_LAYERS["resnet"])
    except OSError as error:
        raise encoders.unreachable(encoder, error) from None
    if settings.fpn_channels != _PAPERS_CHANNELS:
        _resize_pyramid(backbone, settings.fpn_channels)
    body = backbone.body
    assert isinstance(body, nn.Module)
    if weights not in (encoders.IMAGENET, encoders.NONE):
        _load_file(body, encoder, weights, norm)
    if channels != 3:
        encoders.adapt_channels(body, channels)
    if settings.norm == "group":
        to_group_norm(body)
    return backbone


def _resize_pyramid(backbone: nn.Module, channels: int) -> None:
    """Give the pyramid of torchvision's `backbone`, which has 256 channels, `channels`."""
    pyramid: Any = backbone.fpn
    widths = [block[0].in_channels for block in pyramid.inner_blocks]
    backbone.fpn = FeaturePyramidNetwork(widths, channels, extra_blocks=LastLevelMaxPool())
    backbone.out_channels = channels  # type: ignore[assignment]


def _load_file(body: nn.Module, encoder: str, file: str, norm: type[nn.Module]) -> None:
    """Into the pyramid's body, whose layers are some of the whole classification network's."""
    if encoder in RESNETS:
        whole = resnet.__dict__[encoder](weights=None, norm_layer=norm)
        del whole.fc
        part: nn.Module = whole
    else:
        part = mobilenet.__dict__[encoder](weights=None, norm_layer=norm).features
    encoders.load_encoder(part, file)
    body.load_state_dict(part.state_dict())
