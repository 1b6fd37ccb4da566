"""Augmentation: one geometry with the graph, everything in step, crops after the transforms, no truth where there is no picture, mistakes told at once."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hostile import campaign_of
from pydantic import ValidationError
from torch import nn

from segline.data.store import IGNORE, Instances, Sample, Truth
from segline.errors import ParametersError
from segline.tasks.graph import EvalGraph
from segline.tasks.semantic.learning import SemanticLearning
from segline.training.augment import Augmentation, resized
from segline.training.settings import Transform
from segline_runtime.geometry import network_size
from segline_runtime.specification import ClassInfo, Geometry, ImageKind, Specification

STRETCH = Geometry("stretch", (48, 64))


def sample(height: int = 60, width: int = 90) -> Sample:
    """A bright disc on dark noise; one object is the disc, the other a strip at the right border."""
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - height // 2) ** 2 + (columns - width // 3) ** 2 < (height // 5) ** 2
    strip = columns >= width - 6
    image = np.random.default_rng(0).integers(0, 40, (height, width, 3)).astype(np.uint8)
    image[disc] += 180
    mask = np.where(disc, 1, np.where(strip, 2, 0)).astype(np.uint8)
    masks = np.stack([disc, strip])
    return Sample(7, "name", image, mask, Instances(masks, np.zeros((2, 4), np.float32), np.array([1, 2]), np.array([False, True])))


def transforms(*names: dict[str, dict[str, Any]] | str) -> list[Transform]:
    return [Transform.model_validate(name) for name in names]


def augmented(names: Any = (), *, geometry: Geometry = STRETCH, crop: tuple[int, int] | None = None, seed: int = 1, of: Sample | None = None) -> Sample:
    return Augmentation(transforms(*names), geometry=geometry, truth="index", crop=crop, padding=(7.0, 8.0, 9.0))(of or sample(), seed)


def test_image_mask_and_objects_stay_in_step() -> None:
    names = ["HorizontalFlip", {"Affine": {"rotate": [-30, 30], "scale": [0.8, 1.2], "p": 1.0}}]
    found = augmented(names)
    assert found.image.shape == (48, 64, 3)
    assert found.mask is not None and found.instances is not None
    bright = found.image.mean(axis=2) > 100
    assert (bright == (found.mask == 1)).mean() > 0.97
    assert ((found.instances.mask(0)) == (found.mask == 1)).mean() > 0.99
    rows, columns = np.nonzero(found.instances.mask(0))
    assert found.instances.boxes[0].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert found.instances.crowd.tolist() == [False, True][: len(found.instances)]


def test_the_same_seed_gives_the_same_picture_and_another_another() -> None:
    names = [{"Affine": {"rotate": [-30, 30], "p": 1.0}}, {"RandomBrightnessContrast": {"p": 1.0}}]
    first, again, other = (augmented(names, crop=(32, 32), seed=seed).image for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()


def test_objects_that_left_the_picture_are_left_out() -> None:
    found = augmented([{"Crop": {"x_min": 0, "y_min": 0, "x_max": 40, "y_max": 48}}])
    assert found.instances is not None
    assert found.instances.labels.tolist() == [1]


class TestCrop:
    def test_it_comes_after_the_transforms_and_moves(self) -> None:
        geometry = Geometry("native", None)
        found = [augmented([{"Affine": {"scale": [2.0, 2.0], "p": 1.0}}], geometry=geometry, crop=(40, 50), seed=seed) for seed in range(6)]
        assert {one.image.shape for one in found} == {(40, 50, 3)}
        assert len({one.image.tobytes() for one in found}) == 6

    def test_a_smaller_image_is_padded_with_what_teaches_nothing(self) -> None:
        found = augmented(geometry=Geometry("native", None), crop=(80, 128))
        assert found.image.shape == (80, 128, 3)
        assert found.mask is not None and found.instances is not None
        assert (found.image[60:] == (7, 8, 9)).all() and (found.image[:, 90:] == (7, 8, 9)).all()
        assert (found.mask[60:] == IGNORE).all() and (found.mask[:, 90:] == IGNORE).all()
        assert not found.instances.masks[:, 60:].any()
        assert (found.image[:60, :90] == sample().image).all()


def test_letterbox_pads_to_its_size() -> None:
    found = augmented(geometry=Geometry("letterbox", (64, 64)))
    assert found.image.shape == (64, 64, 3)
    assert found.mask is not None
    assert (found.mask[42:] == IGNORE).all()
    assert (found.mask[:42] != IGNORE).all()


class _Shows(EvalGraph):
    """Gives back what the network would see."""

    inputs = {"images": {1: "height", 2: "width"}}
    outputs = {"seen": {}}

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (self._fitted(images)[0],)


@pytest.mark.parametrize(
    "geometry", [STRETCH, Geometry("shorter_side", (32, 44)), Geometry("letterbox", (40, 40)), Geometry("native", None)], ids=lambda g: g.fit
)
@pytest.mark.parametrize("size", [(60, 90), (120, 50), (20, 33)])
def test_training_sees_what_the_graph_sees(geometry: Geometry, size: tuple[int, int]) -> None:
    """Up to the rounding to whole values, which the graph does not do."""
    mean, std = (0.25, 0.5, 0.5), (0.5, 0.25, 0.5)
    specification = Specification("semantic", "m", "d", (ClassInfo(0, "a", (0, 0, 0), False),), geometry, mean, std)
    image = sample(*size).image
    seen = _Shows(nn.Identity(), specification).run(image[None])["seen"][0]
    padding = [255 * value for value in mean]
    trained = Augmentation([], geometry=geometry, truth="index", padding=padding)(Sample(0, "n", image, None, None), 0).image
    assert trained.shape[:2] == seen.shape[1:]
    assert trained.shape[:2] == (geometry.size if geometry.fit == "letterbox" else network_size(size, geometry))
    back = (seen.transpose(1, 2, 0) * std + mean) * 255
    assert np.abs(back - trained).max() <= 1.01


def test_shrinking_is_antialiased() -> None:
    """A fine checkerboard becomes even grey; without a filter it would become black or white."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = resized(np.repeat(board[..., None], 3, axis=2).astype(np.uint8), (13, 13))
    assert np.abs(small.astype(int) - 127).max() < 20


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_other_kinds_of_images_keep_their_type(kind: type[np.generic]) -> None:
    image = (np.random.default_rng(0).random((30, 40, 5)) * 4000).astype(kind)
    augmentation = Augmentation([], geometry=Geometry("stretch", (16, 24)), truth="index", crop=(32, 32), padding=(100.0,) * 5)
    found = augmentation(Sample(0, "n", image, None, None), 0)
    assert found.image.dtype == kind
    assert found.image.shape == (32, 32, 5)
    assert (found.image[20:] == 100).all()


def part(truth: Truth, of: Sample | None = None) -> Sample:
    """A sample with one kind of truth."""
    whole = of or sample()
    return replace(whole, mask=whole.mask if truth == "index" else None, instances=whole.instances if truth == "instances" else None)


def everywhere(value: int, truth: Truth) -> Sample:
    """A white picture that is one class and one object."""
    mask = np.full((48, 64), value, dtype=np.uint8)
    objects = Instances(np.ones((1, 48, 64), np.bool_), np.zeros((1, 4), np.float32), np.array([1]), np.array([False]))
    return part(truth, Sample(0, "white", np.full((48, 64, 3), 255, dtype=np.uint8), mask, objects))


LEAVE = {
    "Affine": {"rotate": [-30, 30]},
    "Rotate": {"limit": 30},
    "SafeRotate": {"limit": 30},
    "ShiftScaleRotate": {},
    "Perspective": {"scale": [0.2, 0.3], "fit_output": True},
    "CropAndPad": {"px": [10, 20]},
    "PadIfNeeded": {"min_height": 80, "min_width": 80},
    "ElasticTransform": {"alpha": 300},
    "OpticalDistortion": {"distort_limit": [0.5, 0.9]},
    "CoarseDropout": {"hole_height_range": [0.3, 0.4], "hole_width_range": [0.3, 0.4]},
}
"""Transforms that reach beyond the picture, or wipe out a part of it."""


class TestTruthIsNotInvented:
    @pytest.mark.parametrize("fill", [0, 5, 200, 255])
    @pytest.mark.parametrize("name", LEAVE)
    def test_beyond_the_picture_there_is_none_whatever_is_filled_in(self, name: str, fill: int) -> None:
        names = transforms({name: {**LEAVE[name], "fill_mask": fill, "p": 1.0}})
        index, objects = (Augmentation(names, geometry=STRETCH, truth=truth) for truth in ("index", "instances"))
        left = 0
        for seed in range(4):
            found = index(everywhere(3, "index"), seed)
            assert found.mask is not None
            assert set(np.unique(found.mask)) <= {3, IGNORE}
            black, white = (found.image == 0).all(axis=2), (found.image == 255).all(axis=2)
            assert (found.mask[black] == IGNORE).all()
            assert (found.mask[white] == 3).mean() > 0.99  # resampling the image and the mask differs by half a pixel
            left += int(black.sum())
            other = objects(replace(everywhere(3, "instances"), mask=everywhere(3, "index").mask), seed)
            assert other.instances is not None and len(other.instances) == 1
            assert not other.instances.mask(0)[(other.image == 0).all(axis=2)].any()
            np.testing.assert_array_equal(other.mask, found.mask)
        assert left > 200

    @pytest.mark.parametrize(
        "name",
        [{"CropNonEmptyMaskIfExists": {"height": 40, "width": 40, "p": 1.0}}, {"ConstrainedCoarseDropout": {"mask_indices": [1], "fill_mask": 5, "p": 1.0}}],
        ids=lambda entry: next(iter(entry)),
    )
    @pytest.mark.parametrize("there", [True, False])
    def test_an_index_mask_goes_with_the_objects_by_which_is_decided(self, name: Any, there: bool) -> None:
        white = replace(everywhere(3, "instances"), mask=everywhere(254, "index").mask)
        nothing = Instances(np.zeros((0, 48, 64), np.bool_), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_))
        turned = transforms({"Rotate": {"limit": [30, 30], "p": 1.0}}, name)
        augmentation = Augmentation(turned, geometry=STRETCH, truth="instances")
        for seed in range(4):
            found = augmentation(white if there else replace(white, instances=nothing), seed)
            assert found.mask is not None and found.instances is not None and len(found.instances) == there
            assert set(np.unique(found.mask)) == {254, IGNORE}
            assert (found.mask[(found.image == 255).all(axis=2)] == 254).mean() > 0.99
            assert 0.01 < (found.mask == IGNORE).mean() < 0.8, "the corners of a picture that was turned, and holes"

    def test_a_turned_object_keeps_its_size_and_its_box(self) -> None:
        """With the fill as truth this object would take in the border: twice the area, and the whole picture as its box."""
        square = np.zeros((1, 48, 64), dtype=np.bool_)
        square[:, 14:34, 20:44] = True
        objects = Instances(square, np.zeros((1, 4), np.float32), np.array([1]), np.array([False]))
        before = Sample(0, "n", np.zeros((48, 64, 3), np.uint8), None, objects)
        turning = transforms({"Affine": {"rotate": [20, 30], "fill_mask": 255, "p": 1.0}})
        found = Augmentation(turning, geometry=STRETCH, truth="instances")(before, 0).instances
        assert found is not None
        assert abs(found.mask(0).sum() - 480) < 25
        width, height = found.boxes[0, 2:] - found.boxes[0, :2]
        assert 24 < width < 40 and 20 < height < 36

    def test_a_mirrored_border_has_mirrored_truth(self) -> None:
        found = augmented([{"Affine": {"rotate": [30, 30], "border_mode": 4, "p": 1.0}}])
        assert found.mask is not None
        assert set(np.unique(found.mask)) == {0, 1, 2}

    @pytest.mark.parametrize("value", [0, 1, 254, IGNORE])
    def test_every_class_id_and_ignore_come_through(self, value: int) -> None:
        found = augmented(["HorizontalFlip"], of=everywhere(value, "index"))
        assert (found.mask == value).all()

    def test_below_a_hole_the_truth_stays_unless_it_is_to_be_filled(self) -> None:
        holes = {"hole_height_range": [0.5, 0.5], "hole_width_range": [0.5, 0.5], "p": 1.0}
        found = augmented([{"CoarseDropout": holes}], of=everywhere(3, "index"))
        assert (found.image == 0).any() and (found.mask == 3).all()

    def test_dropped_objects_of_a_class_mask_become_ignored_and_the_rest_stays(self) -> None:
        found = augmented([{"MaskDropout": {"max_objects": [2, 2], "p": 1.0}}], of=part("index"))
        assert found.mask is not None
        assert set(np.unique(found.mask)) == {0, IGNORE}


@pytest.mark.parametrize(
    "name",
    [
        {"Resize": {"height": 16, "width": 16}},
        {"LongestMaxSize": {"max_size": 16}},
        {"SmallestMaxSize": {"max_size": 16}},
        {"RandomScale": {"scale_limit": [-2 / 3, -2 / 3], "p": 1.0}},
        {"RandomResizedCrop": {"size": [16, 16], "scale": [1.0, 1.0], "ratio": [1.0, 1.0]}},
        {"RandomSizedCrop": {"min_max_height": [48, 48], "size": [16, 16]}},
        {"CropAndPad": {"px": [-24, 0, 0, -24], "keep_size": True}},
    ],
    ids=lambda entry: next(iter(entry)),
)
def test_resized_truth_lies_exactly_below_the_resized_image(name: Any) -> None:
    """Columns that are numbered alike in the image and in the mask; at a third of the size each result is the middle one of three."""
    columns = np.broadcast_to(np.arange(48, dtype=np.uint8), (48, 48))
    before = Sample(0, "n", np.ascontiguousarray(np.repeat(columns[..., None], 3, axis=2)), np.ascontiguousarray(columns), None)
    found = augmented([name], geometry=Geometry("native", None), of=before)
    assert found.mask is not None
    difference = found.image[..., 0].astype(int) - found.mask
    assert abs(difference).max() == 0 if found.mask.shape == (16, 16) else abs(difference.mean()) < 0.05


CHANGE_SIZE: list[Any] = [
    {"RandomRotate90": {"p": 0.5}},
    {"Transpose": {"p": 0.5}},
    {"RandomCrop": {"height": 20, "width": 30, "p": 0.5}},
    {"RandomResizedCrop": {"size": [30, 40], "p": 0.5}},
    {"RandomScale": {"scale_limit": [-0.5, 1.0], "p": 0.5}},
    {"PadIfNeeded": {"min_height": 100, "min_width": 100, "p": 0.5}},
]


class TestSize:
    @pytest.mark.parametrize("geometry", [STRETCH, Geometry("letterbox", (48, 64))], ids=lambda g: g.fit)
    @pytest.mark.parametrize("name", CHANGE_SIZE, ids=lambda entry: next(iter(entry)))
    def test_index_masks_come_at_one_size_and_say_where_there_is_nothing(self, name: Any, geometry: Geometry) -> None:
        white = everywhere(3, "index")
        augmentation = Augmentation(transforms(name), geometry=geometry, truth="index", padding=(0.0, 0.0, 0.0))
        found = [augmentation(white, seed) for seed in range(8)]
        batch = SemanticLearning().collate(found)
        assert batch.images.shape == (8, 3, 48, 64) and batch.masks.shape == (8, 48, 64)
        for one in found:
            assert one.mask is not None
            assert ((one.mask == IGNORE) == (one.image == 0).all(axis=2)).all()

    def test_a_quarter_turn_keeps_the_scale(self) -> None:
        """Height is cut, width is padded: nothing is stretched."""
        found = [augmented([{"RandomRotate90": {"p": 1.0}}], of=everywhere(3, "index"), seed=seed).mask for seed in range(8)]
        widths = {int((mask != IGNORE).all(axis=0).sum()) for mask in found if mask is not None}
        assert widths == {48, 64}

    @pytest.mark.parametrize("name", CHANGE_SIZE, ids=lambda entry: next(iter(entry)))
    def test_objects_with_an_index_mask_come_at_one_size(self, name: Any) -> None:
        white = replace(everywhere(3, "instances"), mask=everywhere(3, "index").mask)
        augmentation = Augmentation(transforms(name), geometry=STRETCH, truth="instances", padding=(0.0, 0.0, 0.0))
        for seed in range(8):
            found = augmentation(white, seed)
            assert found.instances is not None and found.mask is not None
            assert found.image.shape[:2] == found.mask.shape == found.instances.masks.shape[1:] == (48, 64)
            np.testing.assert_array_equal(found.instances.mask(0), found.mask == 3)

    def test_objects_of_a_batch_may_come_at_their_own_sizes(self) -> None:
        augmentation = Augmentation(transforms({"RandomRotate90": {"p": 1.0}}), geometry=STRETCH, truth="instances")
        sizes = {augmentation(part("instances"), seed).image.shape[:2] for seed in range(8)}
        assert sizes == {(48, 64), (64, 48)}


@pytest.mark.parametrize("name", ["AtLeastOneBBoxRandomCrop", "BBoxSafeRandomCrop", "RandomSizedBBoxSafeCrop", "CropNonEmptyMaskIfExists"])
def test_crops_around_objects_keep_some_and_take_pictures_without_any(name: str) -> None:
    arguments = {} if name == "BBoxSafeRandomCrop" else {"height": 30, "width": 30}
    augmentation = Augmentation(transforms({name: {**arguments, "p": 1.0}}), geometry=STRETCH, truth="instances")
    for seed in range(8):
        found = augmentation(part("instances"), seed).instances
        assert found is not None and len(found)
    nothing = Instances(np.zeros((0, 60, 90), np.bool_), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    bare = augmentation(replace(part("instances"), instances=nothing), 0)
    assert bare.instances is not None and bare.instances.masks.shape == (0, *bare.image.shape[:2])


@pytest.mark.parametrize(
    ("kind", "scale", "top"),
    [("uint16", 65535.0, 4095), ("uint16", 4095.0, 60000), ("float32", 1.0, 0.5), ("float32", 1.0, 4000.0), ("float32", 4000.0, 3000.0)],
)
def test_images_of_other_kinds_are_brightened_within_their_own_range(kind: Any, scale: float, top: float) -> None:
    """albumentations takes 1.0 for white and cuts off the rest; elevations in metres must not all become white."""
    random = np.random.default_rng(0).random((48, 64, 1))
    image = (random * top).astype(kind)
    brighter = transforms({"RandomBrightnessContrast": {"brightness_limit": [0.1, 0.1], "contrast_limit": [0.0, 0.0], "p": 1.0}})
    augmentation = Augmentation(brighter, geometry=STRETCH, truth="index", image=ImageKind(channels=1, dtype=kind, scale=scale))
    found = augmentation(Sample(0, "n", image, None, None), 0).image
    assert found.dtype == image.dtype and found.shape == image.shape
    change = 0.1 * max(scale, float(image.max()))
    inside = image < image.max() * 0.85
    assert found[inside].astype(np.float64) - image[inside] == pytest.approx(change, abs=1e-3 * change + (kind == "uint16"))


@pytest.mark.parametrize(
    ("name", "truth", "sentence"),
    [
        ("HorizontalFlop", "index", "no transform 'HorizontalFlop'. Did you mean HorizontalFlip"),
        ({"HorizontalFlip": {"q": 0.5}}, "index", "HorizontalFlip cannot be made with"),
        ({"HorizontalFlip": {"p": 2}}, "index", "p: Input should be less than or equal to 1"),
        ("RandomCrop", "index", "height: Field required; width: Field required"),
        ("OneOf", "index", "OneOf holds other transforms; list these"),
        ("DualTransform", "index", "DualTransform is what albumentations' transforms are made from"),
        ("CenterCrop3D", "index", "transforms volumes, not images"),
        ("Mosaic", "index", "Mosaic needs 'mosaic_metadata'"),
        ("OverlayElements", "index", "OverlayElements needs 'overlay_metadata'"),
        ("RandomCropNearBBox", "instances", "RandomCropNearBBox needs 'cropping_bbox'"),
        ("Lambda", "index", "Lambda needs Python functions"),
        ("Normalize", "index", "Normalize would scale the values a second time"),
        ("ToFloat", "index", "ToFloat would scale"),
        ("FromFloat", "index", "FromFloat would scale"),
        ("ToTensorV2", "index", "ToTensorV2 would scale"),
        ("Morphological", "index", "makes wrong truth"),
        ("BBoxSafeRandomCrop", "index", "learns from class masks"),
        ("MaskDropout", "instances", "learns from objects"),
        ({"Affine": {"rotate": [20, 30], "mask_interpolation": 1}}, "index", "Affine mixes class ids into new ones"),
        ({"RandomCrop": {"height": 500, "width": 20}}, "index", "RandomCrop cannot transform .*48 x 64 pixels"),
        ({"RandomCrop": {"height": 500, "width": 20, "p": 0.001}}, "index", "RandomCrop cannot transform"),
        ({"Crop": {"x_max": 65, "y_max": 48}}, "index", "Crop cannot transform"),
        ({"Affine": {"rotate": [0, float("nan")]}}, "index", "Affine.rotate is .*nan.*; a number there is at most 65535"),
        ({"GlassBlur": {"iterations": 10**9}}, "index", "GlassBlur.iterations is 1000000000; a number there is at most 65535"),
        ({"PadIfNeeded": {"min_height": 10**5, "min_width": 10**400}}, "index", "PadIfNeeded.min_height is 100000; a number there is at most 8192"),
    ],
)
def test_a_mistake_is_told_before_there_is_any_data(name: Any, truth: Truth, sentence: str) -> None:
    with pytest.raises(ParametersError, match=sentence):
        Augmentation(transforms(name), geometry=STRETCH, truth=truth)


@pytest.mark.parametrize("entry", [{}, None, 5, [1], {"HorizontalFlip": 3}, {"HorizontalFlip": [1]}, {"HorizontalFlip": {}, "VerticalFlip": {}}])
def test_an_entry_is_a_name_over_arguments(entry: Any) -> None:
    with pytest.raises(ValidationError, match=r"as in `- HorizontalFlip: \{p: 0\.5\}`"):
        transforms(entry)


def test_all_mistakes_are_told_at_once_and_each_transform_sees_what_the_one_before_left() -> None:
    names: list[Any] = [{"RandomCrop": {"height": 20, "width": 20}}, {"CenterCrop": {"height": 30, "width": 30}}, {"Crop": {"x_max": 99, "y_max": 9}}]
    with pytest.raises(ParametersError) as caught:
        Augmentation(transforms(*names), geometry=STRETCH, truth="index")
    assert [sentence.split()[1] for sentence in caught.value.problems] == ["CenterCrop", "Crop"]


@pytest.mark.parametrize("geometry", [Geometry("native", None), Geometry("stretch", None), Geometry("shorter_side", (300, 700))], ids=lambda g: g.fit)
def test_a_crop_that_some_image_may_hold_is_not_refused(geometry: Geometry) -> None:
    Augmentation(transforms({"RandomCrop": {"height": 200, "width": 600}}), geometry=geometry, truth="index")


@pytest.mark.parametrize(
    ("name", "kind", "works"),
    [
        ("HueSaturationValue", ImageKind(channels=1), False),
        ("HueSaturationValue", ImageKind(), True),
        ("RandomRain", ImageKind(channels=1), False),
        ("ToSepia", ImageKind(channels=5), False),
        ("CLAHE", ImageKind(channels=1), True),
        ("ToGray", ImageKind(channels=1), False),
        ({"ToGray": {"num_output_channels": 1}}, ImageKind(), False),
        ("ToRGB", ImageKind(channels=1), False),
        ("GaussNoise", ImageKind(channels=5, dtype="uint16", scale=65535.0), True),
        ("Affine", ImageKind(channels=6, dtype="float32", scale=1.0), True),
    ],
)
def test_it_is_tried_on_images_of_the_models_kind(name: Any, kind: ImageKind, works: bool) -> None:
    if works:
        Augmentation(transforms(name), geometry=STRETCH, truth="index", image=kind)
        return
    with pytest.raises(ParametersError, match=r"cannot transform .* Change its arguments, or remove it\."):
        Augmentation(transforms(name), geometry=STRETCH, truth="index", image=kind)


def test_an_image_that_cannot_be_transformed_is_named() -> None:
    augmentation = Augmentation(transforms({"CenterCrop": {"height": 80, "width": 80}}), geometry=Geometry("native", None), truth="index")
    with pytest.raises(ParametersError, match=r"augment: CenterCrop cannot transform the image 'name' \(60 x 90 pixels, 3 channels of uint8\): Crop size"):
        augmentation(sample(), 0)


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return campaign_of("augmentation")


@pytest.mark.filterwarnings("ignore:.*(is a special case of|is a specialized version of|is an alias for|is very slow)")
@pytest.mark.parametrize("truth", ["index", "instances"])
def test_every_transform_of_albumentations_serves_or_is_refused(benchmark: ModuleType, truth: Truth) -> None:
    outcomes: dict[str, list[str]] = {"served": [], "refused": [], "failed": []}
    for name in benchmark.names():
        how, sentence = benchmark.outcome(name, benchmark.LEAST.get(name, {}), ImageKind(), truth)
        outcomes[how].append(f"{name} {sentence}")
    assert not outcomes["failed"]
    assert len(outcomes["served"]) > 80
    assert all(sentence.split(" ", 1)[1].startswith("augment: ") for sentence in outcomes["refused"])
