"""What is Mask R-CNN's own: coordinates in full precision, mask targets that are true below the pixel, pooling that no image decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import factories
import numpy as np
import pytest
import torch
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign

from segline.models import catalog
from segline.models.maskrcnn.masks import mask_targets
from segline.models.maskrcnn.network import MOBILENETS, InstanceNetwork
from segline.models.maskrcnn.pooling import Pooling
from segline_runtime.instance import paste_masks

SIZE = (70, 90)
TARGET = {
    "boxes": torch.tensor([[3.3, 5.7, 40.1, 50.9], [50.0, 20.0, 80.0, 60.0]]),
    "labels": torch.tensor([1, 2]),
    "masks": torch.zeros((2, *SIZE), dtype=torch.uint8),
}
TARGET["masks"][0, 6:51, 4:40] = 1
TARGET["masks"][1, 20:60, 50:80] = 1


def built() -> tuple[InstanceNetwork, MaskRCNN]:
    torch.manual_seed(0)
    network = catalog.build(factories.settings("maskrcnn"), channels=3, classes=3)
    assert isinstance(network, InstanceNetwork)
    return network.train(), network.network


def test_coordinates_are_made_in_full_precision_also_when_the_network_computes_in_bfloat16() -> None:
    _, parts = built()
    heads: Any = parts.roi_heads
    images = ImageList(torch.rand(1, 3, 64, 64), [(64, 64)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = parts.backbone(images.tensors)
        anchors = parts.rpn.anchor_generator(images, list(features.values()))
        scored = parts.rpn.head(list(features.values()))
        proposals, _ = parts.rpn(images, features, [TARGET])
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, proposals, [(64, 64)])))
        masks = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, proposals, [(64, 64)])))
        inside = heads.box_head(heads.box_roi_pool(features, proposals, [(64, 64)]))
    for values in ([*features.values()], anchors, *scored, proposals, [logits, deltas, masks]):
        assert {value.dtype for value in values} == {torch.float32}
    assert inside.dtype == torch.bfloat16


def test_all_losses_but_the_masks_are_torchvisions() -> None:
    network, parts = built()
    parts.roi_heads.box_roi_pool.sampling_ratio = parts.roi_heads.mask_roi_pool.sampling_ratio = 2
    image = torch.rand(3, *SIZE)
    torch.manual_seed(1)
    ours = network.loss([image], [TARGET])
    torch.manual_seed(1)
    batch = ImageList(parts.transform.batch_images([image]), [SIZE])
    features = parts.backbone(batch.tensors)
    proposals, first = parts.rpn(batch, features, [TARGET])
    _, second = parts.roi_heads(features, proposals, [SIZE], [TARGET])
    theirs = {**first, **second}
    assert ours.keys() == theirs.keys()
    for name in theirs.keys() - {"loss_mask"}:
        assert ours[name].item() == pytest.approx(theirs[name].item(), rel=1e-5)
    assert ours["loss_mask"].item() == pytest.approx(theirs["loss_mask"].item(), rel=0.1)


def test_an_image_without_objects_has_losses() -> None:
    network, _ = built()
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "masks": torch.zeros((0, *SIZE), dtype=torch.uint8)}
    losses = network.loss([torch.rand(3, *SIZE)], [nothing])
    assert losses["loss_mask"].item() == 0
    torch.stack(list(losses.values())).sum().backward()


def detected(network: InstanceNetwork, image: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, ...]:
    """Boxes, labels, scores and masks of one look."""
    seen = network.look(image, size)
    boxes, labels, scores = network.boxes(seen)
    return boxes, labels, scores, network.masks(seen, boxes, labels)


def test_the_first_image_decides_nothing() -> None:
    first, second = built()[0].eval(), built()[0].eval()
    image = torch.rand(3, *SIZE)
    with torch.no_grad():
        detected(first, torch.rand(3, 67, 128), (67, 128))  # features of 67 / 4 rows: 17
        for one, other in zip(detected(first, image, SIZE), detected(second, image, SIZE), strict=True):
            assert torch.equal(one, other)
    assert first.network.roi_heads.box_roi_pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]


@pytest.mark.parametrize("encoder", ["resnet18", *MOBILENETS])
def test_the_pooled_levels_have_the_strides_that_pooling_takes_them_to_have(encoder: str) -> None:
    network = catalog.build(factories.settings("maskrcnn", encoder=encoder), channels=3, classes=3)
    assert isinstance(network, InstanceNetwork)
    with torch.no_grad():
        levels = network.network.backbone(torch.zeros(1, 3, 128, 96))
    strides = network.network.roi_heads.box_roi_pool.scales
    assert [tuple(levels[str(i)].shape[2:]) for i in range(4)] == [(int(128 * stride), int(96 * stride)) for stride in strides]


@pytest.mark.parametrize("bins", [7, 14])
def test_pooling_for_learning_is_torchvisions(bins: int) -> None:
    """Boxes of every level and of images without any, beside the image and far beyond it, thinner than a pixel, and none at all."""
    chance = torch.Generator().manual_seed(0)
    levels = {str(i): torch.randn(3, 5, side, side + 3, generator=chance) for i, side in enumerate((40, 20, 10, 5, 3))}
    boxes = []
    for number in (4, 0, 150):
        corner = torch.rand(number, 2, generator=chance) * 200 - 30
        boxes.append(torch.cat([corner, corner + torch.rand(number, 2, generator=chance) ** 3 * 900], dim=1))
    boxes[0][:2] = torch.tensor([[5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 1e7, 9.0]])
    ours = Pooling(bins)
    theirs = MultiScaleRoIAlign(["0", "1", "2", "3"], bins, 2)
    theirs.scales, theirs.map_levels = ours.scales, ours.map_levels
    assert len(ours.map_levels(boxes).unique()) == 4
    for given in (boxes, [boxes[1]] * 3):
        found = []
        for pool in (ours, theirs):
            read = {name: level.clone().contiguous(memory_format=torch.channels_last).requires_grad_() for name, level in levels.items()}
            values = pool(read, given, [(160, 172)] * 3)
            values.backward(torch.randn(values.shape, generator=torch.Generator().manual_seed(1)))
            found.append([values.detach(), *(read[name].grad for name in "0123")])
        for one, other in zip(*found, strict=True):
            assert one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert torch.equal(ours(levels, boxes, [(160, 172)] * 3), theirs(levels, boxes, [(160, 172)] * 3))


def test_a_box_that_is_no_number_is_pooled_to_none() -> None:
    levels = {str(i): torch.ones(1, 2, side, side) for i, side in enumerate((40, 20, 10, 5))}
    boxes = torch.tensor([[3.0, 3.0, 60.0, 60.0], [float("nan"), 3.0, 60.0, 60.0], [3.0, 3.0, float("inf"), 60.0]])
    values = Pooling(7)(levels, [boxes], [(160, 160)])
    assert values[0].isfinite().all() and values[1].isnan().any()


Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]
SHAPES: dict[str, Shape] = {
    "ellipse": lambda x, y: ((x - 0.5) ** 2 + (y - 0.5) ** 2) < 0.25,
    "triangle": lambda x, y: y > abs(2 * x - 1),
    "ring": lambda x, y: ((x - 0.5) ** 2 + (y - 0.5) ** 2 > 0.06) & ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.25),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("scale", [1.0, 1.5])
@pytest.mark.parametrize("side", [9, 30, 75])
def test_a_mask_learnt_and_pasted_is_the_mask(name: str, scale: float, side: int) -> None:
    """By perfect learning: an object drawn anywhere, seen by the network at `scale`, comes back at the image's size where it was."""
    random = np.random.default_rng(side)
    shifts = []
    for _ in range(20):
        left, top = random.uniform(0, 20, 2)
        box = np.array([left, top, left + side, top + 1.2 * side], np.float32)
        truth = _drawn(SHAPES[name], box, (120, 110))
        seen = torch.from_numpy(_drawn(SHAPES[name], box * scale, (round(120 * scale), round(110 * scale))).astype(np.uint8))
        grid = mask_targets(seen[None], torch.from_numpy(box[None] * scale), torch.zeros(1, dtype=torch.int64), 28)
        pasted = paste_masks(grid.numpy(), box[None], (120, 110))[0]
        assert (pasted & truth).sum() / (pasted | truth).sum() > (0.7 if side < 20 else 0.92)
        shifts.append([np.nonzero(pasted)[axis].mean() - np.nonzero(truth)[axis].mean() for axis in (0, 1)])
    # The centre of gravity is on the whole where it was: torchvision's targets and paste shift it by 0.5 to 1 pixel.
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.1


def _drawn(shape: Shape, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels `(H, W)` whose centres lie in a shape of the unit square stretched over a box xyxy."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    across, down = (x - box[0]) / (box[2] - box[0]), (y - box[1]) / (box[3] - box[1])
    return shape(across, down) & (across > 0) & (across < 1) & (down > 0) & (down < 1)


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenet_v3_small"])
def test_a_narrower_pyramid_has_fewer_channels_in_every_head_that_reads_it(encoder: str) -> None:
    settings = factories.settings("maskrcnn").model_copy(update={"encoder": encoder, "fpn_channels": 24})
    network = catalog.build(settings, channels=3, classes=3)
    assert isinstance(network, InstanceNetwork)
    parts: Any = network.network
    levels = parts.backbone(torch.zeros(1, 3, 64, 64))
    assert {value.shape[1] for value in levels.values()} == {24}
    assert parts.rpn.head.cls_logits.in_channels == parts.roi_heads.mask_predictor.mask_fcn_logits.in_channels == 24
    torch.stack(list(network.train().loss([torch.rand(3, *SIZE)], [TARGET]).values())).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    [boxes, _, _, masks] = detected(network.eval(), torch.rand(3, 64, 96), (64, 96))
    assert masks.shape == (len(boxes), 28, 28)
