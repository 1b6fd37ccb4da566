"""Copy-paste: what is pasted is truth, what it hides is none any more, and the same seed pastes the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest

from segline.data.store import IGNORE, Instances, Sample, Truth
from segline.errors import ParametersError
from segline.training.augment import Augmentation, View
from segline.training.settings import Transform
from segline_runtime.specification import Geometry, ImageKind

GEOMETRY = Geometry("stretch", (40, 60))
ALWAYS = {"p": 1.0, "scale": [1.0, 1.0], "flip": False}


def picture(value: int, masks: np.ndarray, labels: list[int], crowd: list[bool] | None = None, mask: np.ndarray | None = None) -> Sample:
    """An image of one value; index masks are class 0 where nothing else is said."""
    size = masks.shape[1:]
    objects = Instances(
        masks.astype(bool), np.zeros((len(masks), 4), np.float32), np.array(labels, dtype=np.int64), np.array(crowd or [False] * len(masks), dtype=bool)
    )
    index = np.zeros(size, np.uint8) if mask is None else mask
    return Sample(value, f"image{value}", np.full((*size, 3), value, np.uint8), index, objects)


def boxes(*places: tuple[int, int, int, int], size: tuple[int, int] = (40, 60)) -> np.ndarray:
    """Masks of rectangles: top, left, bottom, right."""
    masks = np.zeros((len(places), *size), bool)
    for mask, (top, left, bottom, right) in zip(masks, places, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def made(truth: Truth = "instances", names: list[Any] | None = None, **arguments: Any) -> Augmentation:
    listed = [*(names or []), {"CopyPaste": ALWAYS | arguments}]
    return Augmentation([Transform.model_validate(name) for name in listed], geometry=GEOMETRY, truth=truth)


TARGET = picture(10, boxes((5, 5, 35, 55)), [1])
DONOR = picture(200, boxes((10, 20, 22, 34), (10, 34, 22, 40)), [2, 3])


def test_what_is_pasted_is_an_object_and_hides_what_lies_below() -> None:
    augmentation = made(most=2)
    counts = set()
    for seed in range(12):
        found = augmentation(replace(TARGET, mask=None), seed, others=[DONOR])
        assert found.instances is not None
        masks, labels = found.instances.masks, found.instances.labels.tolist()
        bright = (found.image == 200).all(axis=2)
        pasted = masks[[label != 1 for label in labels]]
        assert np.array_equal(pasted.any(axis=0), bright)
        if 1 in labels:
            below = masks[labels.index(1)]
            assert not (below & bright).any()
            assert np.array_equal(below | bright, TARGET.instances.masks[0] | bright)  # type: ignore[union-attr]
        for mask, box in zip(masks, found.instances.boxes, strict=True):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        counts.add(len(pasted))
    assert counts == {1, 2}


def test_an_object_that_vanishes_below_is_left_out() -> None:
    small, large = picture(10, boxes((18, 28, 20, 30)), [1]), picture(200, boxes((0, 0, 40, 60)), [2])
    found = made(scale=[3.0, 3.0])(replace(small, mask=None), 0, others=[large])
    assert found.instances is not None and found.instances.labels.tolist() == [2]
    assert (found.image == 200).all()


def test_objects_keep_their_places_to_each_other_and_their_shapes() -> None:
    for seed in range(10):
        found = made(most=8)(replace(picture(10, boxes(), []), mask=None), seed, others=[DONOR]).instances
        assert found is not None
        if len(found) == 2 and found.masks[:, 1:-1, 1:-1].sum() == found.masks.sum():
            by_label = dict(zip(found.labels.tolist(), found.boxes, strict=True))
            assert (by_label[3][:2] - by_label[2][:2]).tolist() == [14, 0]
            assert found.masks.sum() == 12 * 14 + 12 * 6
            return
    raise AssertionError("never both within the picture")


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_the_size_is_drawn_relative_to_what_the_network_sees(factor: float) -> None:
    """The donor has twice the network's size, so its object of 24 × 28 is 12 × 14 there."""
    donor = picture(200, boxes((10, 20, 34, 48), size=(80, 120)), [2])
    areas = []
    for seed in range(8):
        found = made(scale=[factor, factor])(replace(picture(10, boxes(), []), mask=None), seed, others=[donor]).instances
        assert found is not None and len(found) == 1
        areas.append(int(found.masks.sum()))
    assert max(areas) == pytest.approx(12 * 14 * factor**2, rel=0.1)


def test_a_mirrored_object_is_mirrored_with_its_mask() -> None:
    wedge = np.tril(np.ones((20, 20), bool))
    masks = np.zeros((1, 40, 60), bool)
    masks[0, 10:30, 20:40] = wedge
    shapes = set()
    for seed in range(12):
        found = made(flip=True)(replace(picture(10, boxes(), []), mask=None), seed, others=[picture(200, masks, [2])])
        assert found.instances is not None
        assert np.array_equal((found.image == 200).all(axis=2), found.instances.masks[0])
        left, top, right, bottom = found.instances.boxes[0].astype(int)
        if (bottom - top, right - left) == (20, 20):
            cut = found.instances.masks[0][top:bottom, left:right]
            shapes.add("as it was" if np.array_equal(cut, wedge) else "mirrored" if np.array_equal(cut, wedge[:, ::-1]) else "else")
    assert shapes == {"as it was", "mirrored"}


def test_index_masks_take_the_classes_below_what_is_pasted() -> None:
    index = np.zeros((40, 60), np.uint8)
    index[10:22, 20:34] = 7
    index[12:14, 22:24] = IGNORE
    donor = picture(200, boxes((10, 20, 22, 34)), [7], mask=index)
    background = picture(10, boxes(), [], mask=np.full((40, 60), 4, np.uint8))
    left_out = 0
    for seed in range(8):
        found = made("index")(background, seed, others=[donor])
        assert found.instances is None and found.mask is not None
        assert set(np.unique(found.mask)) <= {4, 7, IGNORE}
        assert np.array_equal(found.mask != 4, (found.image == 200).all(axis=2))
        left_out += int((found.mask == IGNORE).sum())
    assert left_out > 0, "what the donor's truth leaves out stays left out"


def test_where_a_pixel_may_be_of_several_classes_all_that_is_seen_comes_along() -> None:
    """A heart within a lung, a crowd beside it, and stuff and ignored pixels behind: whichever is chosen, the truth of what is pasted is the donor's."""
    index = np.full((40, 60), 5, np.uint8)
    index[:, :25] = IGNORE
    donor = picture(200, boxes((8, 20, 30, 44), (14, 26, 22, 34), (0, 30, 40, 60)), [2, 3, 4], [False, False, True], mask=index)
    target = picture(10, boxes((0, 0, 40, 60)), [1], mask=np.full((40, 60), 7, np.uint8))
    seen = set()
    for seed in range(16):
        found = made(most=1)(target, seed, others=[donor])
        assert found.instances is not None and found.mask is not None
        bright = (found.image == 200).all(axis=2)
        by_label = dict(zip(found.instances.labels.tolist(), found.instances.masks, strict=True))
        assert np.array_equal(by_label[1], ~bright) and np.array_equal(found.mask == 7, ~bright), "what it hides is none any more"
        assert np.array_equal(by_label[2], bright), "the lung is wherever the heart is"
        assert by_label[3].any() and by_label[4].any() and not (by_label[4] & ~bright).any()
        assert dict(zip(found.instances.labels.tolist(), found.instances.crowd.tolist(), strict=True)) == {1: False, 2: False, 3: False, 4: True}
        assert set(np.unique(found.mask[bright])) <= {5, IGNORE}
        seen.add(np.array_equal(by_label[2], by_label[3]))
    assert seen == {True, False}, "the heart was chosen, and the lung"


def test_groups_are_not_pasted_and_images_without_objects_give_none() -> None:
    crowd, empty = picture(200, boxes((5, 5, 20, 20)), [2], [True]), picture(150, boxes(), [])
    for others in ([crowd], [empty], [crowd, empty], []):
        found = made()(replace(TARGET, mask=None), 1, others=others)
        assert (found.image == 10).all() and found.instances is not None and found.instances.labels.tolist() == [1]
    found = made()(replace(picture(10, boxes((0, 0, 40, 60)), [1], [True]), mask=None), 1, others=[DONOR])
    assert found.instances is not None and found.instances.crowd.tolist() == [True] + [False] * (len(found.instances) - 1)


def test_the_same_seed_pastes_the_same_and_p_is_a_share() -> None:
    augmentation = made(p=0.5, most=2, flip=True, scale=[0.5, 1.5])
    images = [augmentation(replace(TARGET, mask=None), seed, others=[DONOR, TARGET]).image for seed in range(60)]
    again = [augmentation(replace(TARGET, mask=None), seed, others=[DONOR, TARGET]).image for seed in range(60)]
    assert all(np.array_equal(one, other) for one, other in zip(images, again, strict=True))
    assert 8 < sum((image == 200).any() for image in images) < 24, "half of the half that drew the other donor"


def test_transforms_behind_it_see_what_was_pasted_and_those_before_it_do_not() -> None:
    turned = {"VerticalFlip": {"p": 1.0}}
    donor = replace(DONOR, image=DONOR.image.copy())
    donor.image[:16] = 100  # the upper half of the objects
    before = made(names=[turned])(replace(TARGET, mask=None), 3, others=[donor]).image
    listed = [Transform.model_validate(name) for name in ({"CopyPaste": ALWAYS}, turned)]
    after = Augmentation(listed, geometry=GEOMETRY, truth="instances")(replace(TARGET, mask=None), 3, others=[donor]).image
    for image, upside_down in ((before, False), (after, True)):
        dark, bright = (np.nonzero((image == value).all(axis=2))[0] for value in (100, 200))
        assert (dark.mean() > bright.mean()) == upside_down


def test_it_follows_the_size_of_a_step() -> None:
    found = made()(replace(picture(10, boxes(), []), mask=None), 2, View(scale=2.0), [DONOR])
    assert found.image.shape == (80, 120, 3) and found.instances is not None
    assert found.instances.masks.shape[1:] == (80, 120)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_other_kinds_of_images_keep_their_values(dtype: Any) -> None:
    kind = ImageKind(dtype=np.dtype(dtype).name, scale=1.0 if dtype == np.float32 else 65535.0)
    pair = [replace(one, image=one.image.astype(dtype) * 100) for one in (TARGET, DONOR)]
    augmentation = Augmentation([Transform.model_validate({"CopyPaste": ALWAYS})], geometry=GEOMETRY, truth="instances", image=kind)
    found = augmentation(replace(pair[0], mask=None), 0, others=[pair[1]]).image
    assert found.dtype == dtype and set(np.unique(found)) == {1000, 20000}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"p": 2}, "augment: CopyPaste.p is 2"),
        ({"most": 0}, "augment: CopyPaste.most is 0"),
        ({"most": 1.5}, "augment: CopyPaste.most is 1.5"),
        ({"scale": [2.0, 1.0]}, "augment: CopyPaste: scale is [2.0, 1.0]; it is the smallest and the largest factor"),
        ({"scale": 1.0}, "augment: CopyPaste.scale is 1.0"),
        ({"blend": True}, "augment: CopyPaste.blend is no known key"),
        ({"P": 0.5}, "augment: CopyPaste.P is no known key"),
    ],
)
def test_a_mistake_is_told_before_there_is_any_data(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParametersError) as caught:
        Augmentation([Transform.model_validate({"CopyPaste": arguments}), Transform.model_validate("HorizontalFlop")], geometry=GEOMETRY, truth="index")
    assert sentence in caught.value.problems[0]
    assert "HorizontalFlop" in caught.value.problems[-1], "all are told"


@pytest.mark.parametrize("truth", ["index", "instances"])
def test_real_images_of_both_truths(tmp_path: Path, truth: Truth) -> None:
    split = factories.shapes_dataset(tmp_path, train=4, size=(48, 64)).split("train", list(dict.fromkeys([truth, "instances"])))
    augmentation = Augmentation([Transform.model_validate({"CopyPaste": {"p": 1.0}})], geometry=Geometry("native", None), truth=truth)
    plain = Augmentation([], geometry=Geometry("native", None), truth=truth)
    changed = 0
    for index, sample in enumerate(split):
        found, before = augmentation(sample, index, others=split), plain(sample, index)
        different = (found.image != before.image).any(axis=2)
        changed += int(different.any())
        if truth == "index":
            assert found.mask is not None and before.mask is not None
            assert not ((found.mask != before.mask) & ~different).any()
            assert found.instances is None
        else:
            assert found.instances is not None and (found.instances.boxes[:, 2:] > found.instances.boxes[:, :2]).all()
    assert changed >= 3
