"""Augmentation: one geometry with the graph, everything in step, crops after the transforms, padding that teaches nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from segline.data.store import IGNORE, Instances, Sample
from segline.errors import ParametersError
from segline.tasks.graph import EvalGraph
from segline.training.augment import Augmentation, resized
from segline.training.settings import Transform
from segline_runtime.geometry import network_size
from segline_runtime.specification import ClassInfo, Geometry, Specification

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
    return Augmentation(transforms(*names), geometry=geometry, crop=crop, padding=(7.0, 8.0, 9.0))(of or sample(), seed)


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
    trained = Augmentation([], geometry=geometry, padding=padding)(Sample(0, "n", image, None, None), 0).image
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
    found = Augmentation([], geometry=Geometry("stretch", (16, 24)), crop=(32, 32), padding=(100.0,) * 5)(Sample(0, "n", image, None, None), 0)
    assert found.image.dtype == kind
    assert found.image.shape == (32, 32, 5)
    assert (found.image[20:] == 100).all()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("HorizontalFlop", "no transform 'HorizontalFlop'. Did you mean HorizontalFlip"),
        ({"HorizontalFlip": {"q": 0.5}}, "HorizontalFlip cannot be made with"),
    ],
)
def test_a_mistake_gets_a_sentence(name: Any, sentence: str) -> None:
    with pytest.raises(ParametersError, match=sentence):
        Augmentation(transforms(name), geometry=STRETCH)
