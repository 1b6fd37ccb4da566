"""Any image becomes 8-bit RGB that people can look at; 8-bit RGB itself stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from segline.drawing.view import view


def test_rgb_is_left_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    np.testing.assert_array_equal(view(image), image)


def test_one_channel_is_repeated_and_of_many_the_first_three_are_shown() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 6)).astype(np.uint8)
    np.testing.assert_array_equal(view(image), image[:, :, :3])
    for grey in (image[:, :, 0], image[:, :, :1]):
        np.testing.assert_array_equal(view(grey), np.repeat(image[:, :, :1], 3, axis=2))
    np.testing.assert_array_equal(view(image[:, :, :2]), np.dstack([image[:, :, :2], np.zeros((5, 7), np.uint8)]))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_other_values_are_stretched_for_each_channel(dtype: type) -> None:
    ramp = np.linspace(1000, 3000, 10_000).reshape(100, 100)
    image = np.dstack([ramp, ramp * 10, ramp[::-1]]).astype(dtype)
    image[0, 0] = np.iinfo(np.uint16).max  # one hot pixel
    seen = view(image)
    assert seen.dtype == np.uint8
    for channel in range(3):
        assert np.percentile(seen[:, :, channel], (2, 98)) == pytest.approx([2.6, 252.4], abs=2), channel
    assert seen[0, 0].tolist() == [255, 255, 255]
    assert (np.diff(seen[1:, :, 0].ravel().astype(int)) >= 0).all()


def test_constant_and_missing_values_are_black() -> None:
    assert not view(np.full((4, 4, 1), 7, np.uint16)).any()
    values = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    values[0] = np.nan
    seen = view(values)
    assert not seen[0].any() and seen[3, 3, 0] == 255
    assert not view(np.full((4, 4), np.nan, np.float32)).any()


def test_a_mask_like_channel_is_seen() -> None:
    values = np.zeros((100, 100), np.uint16)
    values[3, 3] = 900  # less than the brightest percentile
    assert view(values)[3, 3].tolist() == [255, 255, 255]
