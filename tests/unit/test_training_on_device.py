"""Augmentation on a device: the same list, the same chances, and the picture that the loader would have made, up to interpolation and rounding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import torch
from torch import Tensor

from segline.data.store import IGNORE, Instances, Sample, Truth
from segline.errors import ParametersError
from segline.tasks import catalog as tasks
from segline.tasks.learning import Picture
from segline.training.augment import Augmentation
from segline.training.loaders import training_loader
from segline.training.on_device import DeviceAugmentation, PreparedBatch
from segline.training.settings import Transform
from segline.training.twins import TWINS
from segline_runtime.specification import Geometry, ImageKind

CPU = torch.device("cpu")
NATIVE, STRETCH = Geometry("native", None), Geometry("stretch", (48, 64))

EXACT: list[Any] = [
    {"HorizontalFlip": {"p": 0.5}},
    {"VerticalFlip": {"p": 0.5}},
    {"Transpose": {"p": 0.5}},
    {"RandomRotate90": {"p": 1.0}},
    {"D4": {"p": 1.0}},
    {"SquareSymmetry": {"p": 1.0}},
    {"RandomCrop": {"height": 20, "width": 30, "p": 0.7}},
    {"CenterCrop": {"height": 21, "width": 31, "p": 0.7}},
]
"""They move whole pixels."""

RESAMPLED: list[Any] = [
    {"Affine": {"rotate": [-30, 30], "scale": [0.7, 1.5], "translate_percent": [-0.2, 0.2], "shear": [-10, 10], "p": 0.8}},
    {"Affine": {"rotate": [20, 60], "fit_output": True, "p": 1.0}},
    {"Rotate": {"limit": 60, "p": 1.0}},
    {"SafeRotate": {"limit": 60, "p": 1.0}},
    {"ShiftScaleRotate": {"p": 1.0}},
    {"RandomScale": {"scale_limit": [-0.5, 1.0], "p": 1.0}},
    {"RandomResizedCrop": {"size": [40, 52], "p": 1.0}},
]

COLOURED: list[Any] = [
    {"ColorJitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.05, "p": 0.8}},
    {"RandomBrightnessContrast": {"p": 0.8}},
    {"RandomGamma": {"p": 1.0}},
    {"GaussianBlur": {"p": 1.0}},
]


def sample(height: int = 60, width: int = 90, channels: int = 3, dtype: Any = np.uint8, top: float = 250) -> Sample:
    """Smooth colours, three stripes of classes, and two objects, one of them a crowd."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / (7 + c)) + np.cos(columns / (9 + c)) for c in range(channels)]
    image = ((np.stack(waves, axis=2) + 2) / 4 * top).astype(dtype)
    mask = np.asarray(columns * 3 // width, dtype=np.uint8)
    mask[:6] = IGNORE
    masks = np.stack([(rows - 30) ** 2 + (columns - 40) ** 2 < 200, columns > width - 10])
    objects = Instances(masks, np.zeros((2, 4), np.float32), np.array([1, 2]), np.array([False, True]))
    return Sample(3, "waves", image, mask, objects)


def part(truth: Truth, of: Sample) -> Sample:
    return replace(of, mask=of.mask if truth == "index" else None, instances=of.instances if truth == "instances" else None)


def made(names: list[Any], *, truth: Truth = "index", **more: Any) -> Augmentation:
    augmentation = Augmentation([Transform.model_validate(name) for name in names], truth=truth, **{"geometry": NATIVE, "padding": (7.0, 8.0, 9.0)} | more)
    assert not augmentation.in_loader
    return augmentation


def both(augmentation: Augmentation, seed: int, *, truth: Truth = "index", of: Sample | None = None) -> tuple[Sample, Picture]:
    """What the loader makes, and what the device makes."""
    given = part(truth, of or sample())
    [found] = augmentation.second_half()(PreparedBatch((augmentation.prepared(given, seed),)), CPU)
    return augmentation(given, seed), found


def picture(found: Picture) -> np.ndarray:
    return found.image.permute(1, 2, 0).numpy()


def name_of(entry: Any) -> str:
    return next(iter(entry))


@pytest.mark.parametrize("name", EXACT, ids=name_of)
def test_whole_pixels_come_where_the_loader_puts_them(name: Any) -> None:
    index, instances = made([name]), made([name], truth="instances")
    for seed in range(5):
        expected, found = both(index, seed)
        assert found.image.shape[1:] == expected.image.shape[:2]
        assert np.abs(picture(found) - expected.image).max() < 0.05
        assert found.mask is not None and np.array_equal(found.mask.numpy(), expected.mask)
        objects, seen = both(instances, seed, truth="instances")
        assert objects.instances is not None and seen.masks is not None and objects.mask is None and seen.mask is None
        kept = seen.masks.bool().flatten(1).any(1)
        assert np.array_equal(seen.masks[kept].numpy().astype(bool), objects.instances.masks)


@pytest.mark.parametrize("name", RESAMPLED, ids=name_of)
@pytest.mark.filterwarnings("ignore:.*is a special case of")
def test_resampled_pictures_agree_up_to_interpolation(name: Any) -> None:
    augmentation = made([name])
    for seed in range(4):
        expected, found = both(augmentation, seed)
        assert found.image.shape[1:] == expected.image.shape[:2]
        assert found.mask is not None and expected.mask is not None
        assert (found.mask.numpy() == expected.mask).mean() > 0.96  # along edges, by half a pixel
        beyond = found.mask.numpy() == IGNORE
        inside = ~beyond & (expected.mask != IGNORE)
        # OpenCV's warps know 32 places between two pixels, and mix the black beyond a border into it.
        difference = np.abs(picture(found) - expected.image).max(axis=2)[inside]
        assert np.median(difference) < 1.5
        assert (difference < 12).mean() > 0.96


@pytest.mark.parametrize("name", COLOURED, ids=name_of)
@pytest.mark.parametrize("kind", [ImageKind(), ImageKind(channels=1), ImageKind(dtype="float32", scale=1.0)], ids=["RGB", "grey", "float32"])
def test_colours_agree_up_to_rounding(name: Any, kind: ImageKind) -> None:
    given = sample(channels=kind.channels, dtype=np.dtype(kind.dtype), top=250 if kind.dtype == "uint8" else 0.98)
    augmentation = made([name], image=kind, padding=(0.0,))
    for seed in range(4):
        expected, found = both(augmentation, seed, of=given)
        difference = np.abs(picture(found) - expected.image) / kind.scale
        # Hues of 8 bits are whole numbers of 180 to OpenCV.
        assert np.median(difference) < (0.006 if "ColorJitter" in name else 0.003) and difference.max() < (0.05 if "ColorJitter" in name else 0.009)
        assert np.array_equal(found.mask, expected.mask)


@pytest.mark.parametrize("shared", [False, True])
def test_noise_has_the_asked_strength(shared: bool) -> None:
    grey = replace(sample(), image=np.full((60, 90, 3), 128, dtype=np.uint8))
    arguments = {"std_range": [0.1, 0.1], "mean_range": [0.05, 0.05], "per_channel": not shared, "p": 1.0}
    augmentation = made([{"GaussNoise": arguments}])
    _, found = both(augmentation, 1, of=grey)
    noise = (picture(found) - 128) / 255
    assert noise.std() == pytest.approx(0.1, rel=0.05) and noise.mean() == pytest.approx(0.05, abs=0.01)
    assert (np.ptp(noise, axis=2).max() < 1e-3) == shared
    assert torch.equal(found.image, both(augmentation, 1, of=grey)[1].image)
    assert not torch.equal(found.image, both(augmentation, 2, of=grey)[1].image)


def test_every_twin_is_compared() -> None:
    assert {name_of(entry) for entry in [*EXACT, *RESAMPLED, *COLOURED]} | {"GaussNoise"} == set(TWINS)


@pytest.mark.parametrize("geometry", [STRETCH, Geometry("letterbox", (48, 64)), NATIVE], ids=lambda g: g.fit)
@pytest.mark.parametrize("crop", [None, (32, 40), (80, 128)])
def test_a_whole_list_and_the_crop_after_it(geometry: Geometry, crop: Any) -> None:
    names: list[Any] = [{"RandomScale": {"scale_limit": [-0.3, 0.6], "p": 1.0}}, {"HorizontalFlip": {"p": 0.5}}, *COLOURED[:1]]
    augmentation = made(names, geometry=geometry, crop=crop)
    for seed in range(3):
        expected, found = both(augmentation, seed)
        assert found.image.shape[1:] == expected.image.shape[:2]
        assert found.mask is not None and expected.mask is not None
        same = found.mask.numpy() == expected.mask
        assert same.mean() > 0.96
        difference = np.abs(picture(found) - expected.image).max(axis=2)
        assert np.median(difference) < 4 and (difference < 20).mean() > 0.97


def test_beyond_the_picture_is_black_and_without_truth_and_padding_is_the_mean() -> None:
    white = replace(sample(), image=np.full((60, 90, 3), 255, np.uint8), mask=np.ones((60, 90), np.uint8))
    expected, found = both(made([{"Affine": {"rotate": [40, 40], "p": 1.0}}], crop=(80, 90)), 0, of=white)
    assert found.mask is not None
    shown = picture(found)
    assert ((shown[:60] == 0).all(axis=2) == (found.mask[:60].numpy() == IGNORE)).all()
    assert (shown[60:] == (7, 8, 9)).all() and (found.mask[60:] == IGNORE).all()
    assert (expected.image[60:] == (7, 8, 9)).all()


def test_an_index_mask_goes_with_objects() -> None:
    augmentation = made([{"Affine": {"rotate": [40, 40], "p": 1.0}}], truth="instances", crop=(80, 90))
    expected = augmentation(sample(), 0)
    [found] = augmentation.second_half()(PreparedBatch((augmentation.prepared(sample(), 0),)), CPU)
    assert found.mask is not None and expected.mask is not None and found.masks is not None and len(found.masks) == 2
    assert set(np.unique(found.mask)) == {0, 1, 2, IGNORE} and (found.mask[60:] == IGNORE).all() and (found.mask.numpy() == expected.mask).mean() > 0.96


def test_values_beyond_the_scale_stay() -> None:
    """Elevations in metres, some below the sea: turned as they are, with black, which is 0, beyond."""
    heights = replace(sample(channels=1, dtype=np.float32, top=4000.0))
    heights.image[:] -= 300
    kind = ImageKind(channels=1, dtype="float32", scale=1.0)
    _, found = both(made([{"Affine": {"rotate": [90, 90], "p": 1.0}}], image=kind, padding=(0.0,)), 0, of=heights)
    inside = found.mask != IGNORE
    assert found.mask is not None and found.image[0][~inside & (found.image[0] == 0)].numel()
    assert found.image.max() == pytest.approx(heights.image.max(), rel=0.02) and found.image.min() == pytest.approx(heights.image.min(), rel=0.1)


@pytest.mark.parametrize(
    ("names", "loader", "device"),
    [
        (["HorizontalFlip", {"GaussianBlur": {}}], (), ("HorizontalFlip", "GaussianBlur")),
        (["HorizontalFlip", {"ElasticTransform": {}}, "VerticalFlip"], ("HorizontalFlip", "ElasticTransform"), ("VerticalFlip",)),
        ([{"Affine": {"border_mode": 4}}, {"Affine": {"fill": 9}}], ("Affine", "Affine"), ()),
        ([{"RandomScale": {"interpolation": 2}}, {"RandomCrop": {"height": 20, "width": 20, "pad_if_needed": True}}], ("RandomScale", "RandomCrop"), ()),
        ([{"RandomBrightnessContrast": {"brightness_by_max": False}}, {"Rotate": {"crop_border": True}}], ("RandomBrightnessContrast", "Rotate"), ()),
        (["HorizontalFlip", {"CopyPaste": {}}], ("HorizontalFlip", "CopyPaste"), ()),
    ],
)
def test_what_has_no_twin_stays_in_the_loader_with_all_before_it(names: list[Any], loader: tuple[str, ...], device: tuple[str, ...]) -> None:
    augmentation = Augmentation([Transform.model_validate(name) for name in names], geometry=STRETCH, truth="index")
    assert (augmentation.in_loader, augmentation.on_device) == (loader, device)


def test_the_loaders_half_and_the_devices_go_on_with_the_same_chances() -> None:
    names = ["HorizontalFlip", {"CoarseDropout": {"p": 0.5}}, {"RandomRotate90": {"p": 1.0}}, {"VerticalFlip": {"p": 0.5}}]
    augmentation = Augmentation([Transform.model_validate(name) for name in names], geometry=NATIVE, truth="index")
    for seed in range(6):
        expected = augmentation(part("index", sample()), seed)
        [found] = augmentation.second_half()(PreparedBatch((augmentation.prepared(part("index", sample()), seed),)), CPU)
        assert np.abs(picture(found) - expected.image).max() < 0.05


@pytest.mark.parametrize("task", tasks.TASKS)
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_those_that_the_loader_makes(tmp_path: Path, task: str, workers: int) -> None:
    truths, learning = tasks.get(task).truths, tasks.learning(task)
    split = factories.shapes_dataset(tmp_path, train=5, size=(64, 80)).split("train", truths)
    flips = [Transform.model_validate(name) for name in ({"HorizontalFlip": {"p": 0.5}}, {"RandomRotate90": {"p": 0.5}})]
    augmentation = Augmentation(flips, geometry=NATIVE, truth=truths[0], crop=(48, 48))
    loaders = [
        training_loader(
            split, learning=learning, augmentation=augmentation, batch_size=5, seed=3, first_epoch=1, rank=0, world=1, workers=workers, pin=False, on_device=on
        )
        for on in (False, True)
    ]
    [expected], [prepared] = (list(loader) for loader in loaders)
    found = learning.gathered(augmentation.second_half()(prepared, CPU))
    assert type(found) is type(expected)
    for one, other in zip(tensors(found), tensors(expected), strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one.float(), other.float(), atol=0.05)
        assert one.dtype == other.dtype or other.dtype == torch.uint8


def tensors(batch: Any) -> list[Tensor]:
    """Of a batch of any task."""
    found: list[Tensor] = []
    for value in batch:
        for inner in [value] if isinstance(value, Tensor) else value or ():
            found += [inner] if isinstance(inner, Tensor) else inner.values()
    return found


def test_an_object_that_left_the_picture_is_left_out() -> None:
    learning = tasks.learning("instance")
    nothing = torch.zeros((1, 8, 8), dtype=torch.uint8)
    corner = nothing.clone()
    corner[:, 6:, 3:5] = 1
    masks = torch.cat([nothing, corner, corner])
    given = Picture(torch.zeros((3, 8, 8)), None, masks, torch.tensor([1, 2, 3]), torch.tensor([False, False, True]))
    [target] = learning.gathered([given, given]).targets[:1]
    assert target["boxes"].tolist() == [[3, 6, 5, 8]] and target["labels"].tolist() == [2]
    empty = Picture(torch.zeros((3, 8, 8)), None, masks[:0], torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool))
    [target] = learning.gathered([empty]).targets
    assert target["boxes"].shape == (0, 4) and target["masks"].shape == (0, 8, 8)


@pytest.mark.parametrize("name", [{"RandomCrop": {"height": 61, "width": 20}}, {"RandomScale": {"scale_limit": [-0.99, -0.99], "p": 1.0}}], ids=name_of)
def test_an_image_that_cannot_be_transformed_is_named_by_the_loader(name: Any) -> None:
    tiny = sample(40, 60)
    for how in (made([name]), made([name]).prepared):
        with pytest.raises(ParametersError, match=rf"augment: {name_of(name)} cannot transform the image 'waves' \(40 x 60 pixels, 3 channels"):
            how(part("index", tiny), 0)


def test_a_half_without_work_changes_nothing() -> None:
    expected, found = both(made([]), 0)
    assert np.array_equal(picture(found), expected.image)
    assert isinstance(Augmentation([], geometry=NATIVE, truth="index").second_half(), DeviceAugmentation)
