"""What each task makes of samples: batches, targets, losses on raw values of any kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import factories
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segline.data.class_masks import class_masks
from segline.data.store import IGNORE, EncodedMasks, Instances, Sample
from segline.models import catalog
from segline.tasks import catalog as tasks
from segline.tasks.graph import normalised
from segline.tasks.learning import Picture
from segline.tasks.multilabel.learning import truth_of
from segline_runtime.specification import ClassInfo, Geometry, ImageKind, Specification

CLASSES = tuple(ClassInfo(i, f"class {i}", (40 * i, 90, 10), i > 0) for i in range(3))
BLACK = (ClassInfo(0, "background", (0, 0, 0), False), *CLASSES[1:])
SEMANTIC, INSTANCE, MULTILABEL = tasks.learning("semantic"), tasks.learning("instance"), tasks.learning("multilabel")
CPU = torch.device("cpu")


def image(size: tuple[int, int], dtype: Any = np.uint8, channels: int = 3) -> NDArray[Any]:
    return (np.random.default_rng(0).random((*size, channels)) * 200).astype(dtype)


def sample(size: tuple[int, int], dtype: Any = np.uint8, channels: int = 3, objects: Instances | None = None) -> Sample:
    mask = np.arange(size[0] * size[1], dtype=np.int64).reshape(size) % 3
    return Sample(1, "name", image(size, dtype, channels), mask.astype(np.uint8), objects)


def objects(size: tuple[int, int]) -> Instances:
    """A whole object, a crowd, one thinner than a pixel in width, one in height, and one of exactly one pixel."""
    boxes = np.array([[2, 3, 12, 13], [0, 0, 20, 20], [5, 5, 5.5, 15], [5, 5, 15, 5.9], [7, 8, 8, 9]], np.float32)
    masks = np.zeros((5, *size), np.bool_)
    masks[0, 3:13, 2:12] = masks[1, :20, :20] = masks[2, 5:15, 5] = masks[3, 5, 5:15] = masks[4, 8, 7] = True
    return Instances(masks, boxes, np.array([1, 2, 1, 2, 2]), np.array([False, True, False, False, False]))


class TestSemantic:
    def test_images_are_padded_to_the_largest_with_what_teaches_nothing(self) -> None:
        samples = [sample((20, 30)), sample((25, 24)), sample((25, 30))]
        batch = SEMANTIC.collate(samples)
        assert batch.images.shape == (3, 3, 25, 30)
        assert batch.masks.shape == (3, 25, 30)
        for i, one in enumerate(samples):
            h, w = one.image.shape[:2]
            assert one.mask is not None
            np.testing.assert_array_equal(batch.images[i, :, :h, :w].permute(1, 2, 0).numpy(), one.image)
            np.testing.assert_array_equal(batch.masks[i, :h, :w].numpy(), one.mask)
        assert (batch.masks[0, 20:] == IGNORE).all() and (batch.masks[1, :, 24:] == IGNORE).all()
        assert not (batch.masks[2] == IGNORE).any()

    @pytest.mark.parametrize(("given", "carried"), [(np.uint8, torch.uint8), (np.uint16, torch.float32), (np.float32, torch.float32)])
    @pytest.mark.parametrize("channels", [1, 5])
    def test_values_are_the_images_own(self, given: Any, carried: torch.dtype, channels: int) -> None:
        one = sample((20, 30), given, channels)
        batch = SEMANTIC.collate([one])
        assert (batch.images.dtype, batch.masks.dtype) == (carried, torch.uint8)
        np.testing.assert_array_equal(batch.images[0].permute(1, 2, 0).numpy(), one.image)
        moved = SEMANTIC.to_device(batch, CPU)
        assert type(moved) is type(batch) and torch.equal(moved.images, batch.images) and torch.equal(moved.masks, batch.masks)

    def test_what_is_ignored_has_no_share_in_the_loss(self) -> None:
        settings = factories.settings("unet")
        torch.manual_seed(0)
        network = catalog.build(settings, channels=3, classes=3).eval()
        criterion = SEMANTIC.criterion(settings, network, {})
        one = sample((64, 64))
        assert one.mask is not None
        one.mask[:, 32:] = IGNORE
        spec = specification()
        before = SEMANTIC.losses(network, criterion, SEMANTIC.collate([one]), spec)["loss"]
        changed = Sample(1, "name", one.image, np.where(one.mask == IGNORE, IGNORE, one.mask), None)
        assert torch.equal(SEMANTIC.losses(network, criterion, SEMANTIC.collate([changed]), spec)["loss"], before)
        one.mask[:] = IGNORE
        assert SEMANTIC.losses(network, criterion, SEMANTIC.collate([one]), spec)["loss"] == 0

    def test_class_weights_reach_the_loss(self) -> None:
        settings = factories.settings("unet")
        torch.manual_seed(0)
        network = catalog.build(settings, channels=3, classes=3).eval()
        batch, spec = SEMANTIC.collate([sample((64, 64))]), specification()
        plain, even, uneven = (
            SEMANTIC.losses(network, SEMANTIC.criterion(settings, network, weights), batch, spec)["loss"].item()
            for weights in ({}, {"cross_entropy": (1.0, 1.0, 1.0)}, {"cross_entropy": (0.1, 5.0, 0.3)})
        )
        assert plain == pytest.approx(even)
        assert abs(uneven - plain) > 1e-4


class TestInstance:
    def test_crowds_and_boxes_without_area_are_not_shown(self) -> None:
        batch = INSTANCE.collate([sample((30, 40), objects=objects((30, 40)))])
        [target] = batch.targets
        assert target["boxes"].tolist() == [[2, 3, 12, 13], [7, 8, 8, 9]]
        assert target["labels"].tolist() == [1, 2]
        assert target["masks"].shape == (2, 30, 40)
        assert target["masks"].sum(dim=(1, 2)).tolist() == [100, 1]
        assert {name: value.dtype for name, value in target.items()} == {"boxes": torch.float32, "labels": torch.int64, "masks": torch.uint8}

    def test_encoded_masks_are_decoded(self) -> None:
        plain = objects((30, 40))
        encoded = Instances(EncodedMasks(plain.rles(), (30, 40)), plain.boxes, plain.labels, plain.crowd)
        first, second = (INSTANCE.collate([sample((30, 40), objects=some)]).targets[0] for some in (plain, encoded))
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_images_keep_their_sizes(self) -> None:
        batch = INSTANCE.collate([sample(size, objects=objects(size)) for size in ((30, 40), (25, 50))])
        assert [tuple(one.shape) for one in batch.images] == [(3, 30, 40), (3, 25, 50)]
        moved = INSTANCE.to_device(batch, CPU)
        assert type(moved) is type(batch)
        assert all(torch.equal(a, b) for a, b in zip(moved.images, batch.images, strict=True))
        assert all(torch.equal(a[name], b[name]) for a, b in zip(moved.targets, batch.targets, strict=True) for name in a)

    @pytest.mark.parametrize(("given", "carried"), [(np.uint8, torch.uint8), (np.uint16, torch.float32), (np.float32, torch.float32)])
    def test_values_are_the_images_own(self, given: Any, carried: torch.dtype) -> None:
        one = sample((30, 40), given, 5, objects((30, 40)))
        [carried_image] = INSTANCE.collate([one]).images
        assert carried_image.dtype == carried
        np.testing.assert_array_equal(carried_image.permute(1, 2, 0).numpy(), one.image)

    @pytest.mark.parametrize("crowds", [True, False])
    def test_an_image_without_objects_teaches_the_background(self, crowds: bool) -> None:
        found = objects((64, 64))
        chosen = np.array([1] if crowds else [], np.int64)
        empty = Instances(found.masks[chosen], found.boxes[chosen], found.labels[chosen], found.crowd[chosen])
        batch = INSTANCE.collate([sample((64, 64), objects=empty)])
        assert batch.targets[0]["boxes"].shape == (0, 4)
        assert batch.targets[0]["masks"].shape == (0, 64, 64)
        torch.manual_seed(0)
        network = catalog.build(factories.settings("maskrcnn"), channels=3, classes=3).train()
        losses = INSTANCE.losses(network, None, batch, specification("instance"))
        assert torch.isfinite(losses["loss"])
        assert losses["loss"].item() == pytest.approx(sum(value.item() for name, value in losses.items() if name != "loss"), rel=1e-4)


class TestMultilabel:
    def overlapping(self, size: tuple[int, int]) -> Instances:
        """Two objects of class 1, one of class 2 on both, and a crowd of class 2 that also covers what is of class 1 and what nothing covers."""
        masks = np.zeros((4, *size), np.bool_)
        masks[0, 2:6, 2:6] = masks[1, 6:9, 2:6] = masks[2, 4:8, 4:8] = masks[3, :5, :12] = True
        return Instances(masks, np.zeros((4, 4), np.float32), np.array([1, 1, 2, 2]), np.array([False, False, False, True]))

    def seen(self, size: tuple[int, int], found: Instances | None = None) -> Sample:
        """Nothing but objects."""
        return replace(sample(size, objects=self.overlapping(size) if found is None else found), mask=np.zeros(size, np.uint8))

    def test_a_pixel_is_of_each_class_of_which_an_object_covers_it(self) -> None:
        samples = [self.seen((20, 30)), self.seen((16, 24))]
        samples.append(
            self.seen((20, 24), Instances(np.zeros((0, 20, 24), np.bool_), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_)))
        )
        batch = MULTILABEL.collate(samples)
        assert batch.images.shape == (3, 3, 20, 30) and batch.labels.tolist() == [1, 2]
        moved = MULTILABEL.to_device(batch, CPU)
        assert type(moved) is type(batch) and all(torch.equal(a, b) for a, b in zip(moved, batch, strict=True))
        truth = truth_of(batch, BLACK).numpy()
        for one, found in zip(samples, truth, strict=True):
            assert one.instances is not None
            h, w = one.image.shape[:2]
            np.testing.assert_array_equal(found[:, :h, :w], class_masks(one, BLACK))
            assert (found[:, h:] == IGNORE).all() and (found[:, :, w:] == IGNORE).all()
        background, first, second = truth[0]
        assert set(np.unique(first)) == {0, 1} and (first == 1).sum() == 28
        assert second[5, 5] == 1 and first[5, 5] == 1 and background[5, 5] == 0, "of both"
        assert second[4, 4] == 1, "an object comes before a crowd"
        assert (background[0, 0], first[0, 0], second[0, 0]) == (IGNORE, 0, IGNORE), "under a crowd alone"
        assert (background[2, 2], first[2, 2], second[2, 2]) == (0, 1, IGNORE), "under a crowd of another class"
        assert (background[19, 29], first[19, 29], second[19, 29]) == (1, 0, 0)
        assert (truth[2, 0, :, :24] == 1).all() and not truth[2, 1:, :, :24].any(), "an image without objects"

    def test_what_has_no_objects_is_where_the_index_mask_shows_it_and_ignored_is_ignored_for_all(self) -> None:
        mask = np.zeros((20, 30), np.uint8)
        mask[:, 15:] = 3
        mask[10:, :4] = mask[:3, :3] = IGNORE  # the second lies below the crowd, which is the reason
        one = replace(self.seen((20, 30)), mask=mask)
        classes = (*BLACK, ClassInfo(3, "road", (9, 9, 9), False))
        [truth] = truth_of(MULTILABEL.collate([one]), classes).numpy()
        np.testing.assert_array_equal(truth, class_masks(one, classes))
        assert (truth[:, 10:, :4] == IGNORE).all() and truth[:, 0, 0].tolist() == [IGNORE, 0, IGNORE, 0]
        assert (truth[3, :, 15:] == 1).all() and (truth[0, :, 15:] == 0).all() and not truth[3, :10, :15].any()
        street = (ClassInfo(0, "street", (9, 9, 90), False), *CLASSES[1:])
        [truth] = truth_of(MULTILABEL.collate([one]), street).numpy()
        np.testing.assert_array_equal(truth, class_masks(one, street))
        np.testing.assert_array_equal(truth[0, :10, 3:] == 1, mask[:10, 3:] == 0), "data without a background"

    def test_pictures_of_a_device_make_the_same_batch(self) -> None:
        samples = [self.seen(size) for size in ((20, 30), (16, 24))]
        extent = np.zeros((16, 24), np.uint8)
        extent[:, :5] = IGNORE
        samples[1] = replace(samples[1], mask=extent)
        pictures = []
        for one in samples:
            assert one.instances is not None and one.mask is not None
            masks = torch.from_numpy(one.instances.masks.astype(np.uint8))
            pictures.append(
                Picture(
                    torch.from_numpy(one.image.transpose(2, 0, 1).copy()),
                    torch.from_numpy(one.mask),
                    masks,
                    *map(torch.from_numpy, (one.instances.labels, one.instances.crowd)),
                )
            )
        batch = MULTILABEL.collate(samples)
        assert all(torch.equal(a, b) for a, b in zip(MULTILABEL.gathered(pictures), batch, strict=True))
        truth = truth_of(batch, BLACK)[1].numpy()
        assert (truth[:, 5:, :5] == IGNORE).all() and (truth[:, :, 24:] == IGNORE).all(), "where the second image does not reach"
        assert (truth[1, :16, 5:24] != IGNORE).all()

    def test_what_is_ignored_has_no_share_in_the_loss_and_class_weights_have(self) -> None:
        settings = factories.settings("unet", multilabel=True)
        torch.manual_seed(0)
        network = catalog.build(settings, channels=3, classes=3).eval()
        batch, spec = MULTILABEL.collate([self.seen((64, 64))]), specification("multilabel")
        plain, even, uneven = (
            MULTILABEL.losses(network, MULTILABEL.criterion(settings, network, weights), batch, spec)["loss"].item()
            for weights in ({}, {"binary_cross_entropy": (1.0, 1.0, 1.0)}, {"binary_cross_entropy": (0.1, 5.0, 0.3)})
        )
        assert plain == pytest.approx(even) and abs(uneven - plain) > 1e-4
        batch.ids[:] = IGNORE
        batch.masks[:] = 0
        assert MULTILABEL.losses(network, MULTILABEL.criterion(settings, network, {}), batch, spec)["loss"] == 0


def specification(task: str = "semantic", kind: ImageKind | None = None) -> Specification:
    kind = kind or ImageKind()
    return Specification(task, "m", "d", CLASSES, Geometry("stretch", (64, 64)), (0.5,) * kind.channels, (0.25,) * kind.channels, kind)


@pytest.mark.parametrize(("dtype", "scale"), [("uint8", 255.0), ("uint16", 65535.0), ("float32", 2.0)])
def test_values_are_scaled_by_their_kind(dtype: Any, scale: float) -> None:
    kind = ImageKind(channels=2, dtype=dtype, scale=scale)
    values = (np.linspace(0, 1, 24).reshape(3, 4, 2) * scale).astype(dtype)
    [found] = SEMANTIC.collate([Sample(1, "n", values, np.zeros((3, 4), np.uint8), None)]).images
    expected = (values.astype(np.float64) / scale - 0.5) / 0.25
    np.testing.assert_allclose(normalised(found, specification(kind=kind)).permute(1, 2, 0).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", tasks.TASKS)
def test_the_halves_of_a_task_belong_together(name: str) -> None:
    task, learning = tasks.get(name), tasks.learning(name)
    assert task.name == name
    assert task.metric in ("miou", "mask_ap")
    for method in ("criterion", "collate", "to_device", "losses", "graph"):
        assert callable(getattr(learning, method))
