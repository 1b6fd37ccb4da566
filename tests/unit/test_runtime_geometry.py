"""How large a network sees an image, and the windows of a large one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from segline_runtime.geometry import network_size, windows
from segline_runtime.specification import Geometry, Tile


@pytest.mark.parametrize(
    ("fit", "size", "image", "expected"),
    [
        ("stretch", (256, 320), (100, 100), (256, 320)),
        ("native", None, (37, 211), (37, 211)),
        ("shorter_side", (256, 320), (480, 640), (240, 320)),  # the longer side decides
        ("shorter_side", (256, 320), (600, 600), (256, 256)),
        ("shorter_side", (320, 256), (640, 480), (320, 240)),
        ("shorter_side", (256, 320), (1, 1000), (1, 320)),
        ("shorter_side", (256, 256), (333, 500), (170, 256)),
        ("letterbox", (256, 320), (512, 512), (256, 256)),
        ("letterbox", (256, 320), (100, 200), (160, 320)),
        ("letterbox", (256, 320), (200, 100), (256, 128)),
        ("letterbox", (256, 320), (256, 320), (256, 320)),
        ("letterbox", (256, 320), (3000, 1), (256, 1)),
        ("letterbox", (256, 320), (10, 3), (256, 76)),
    ],
)
def test_size_within_the_network(fit: str, size: tuple[int, int] | None, image: tuple[int, int], expected: tuple[int, int]) -> None:
    assert network_size(image, Geometry(fit, size)) == expected  # type: ignore[arg-type]


def test_a_letterbox_is_filled_in_one_direction_and_never_left() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width, *target = (int(v) for v in rng.integers(1, 900, 4))
        found = network_size((height, width), Geometry("letterbox", (target[0], target[1])))
        assert found[0] == target[0] or found[1] == target[1]
        assert found[0] <= target[0]
        assert found[1] <= target[1]


@pytest.mark.parametrize("size", [(1, 1), (30, 40), (31, 40), (30, 41), (100, 137), (29, 400)])
@pytest.mark.parametrize("overlap", [0, 1, 10, 29])
def test_windows_cover_the_image_and_share_the_overlap(size: tuple[int, int], overlap: int) -> None:
    tile = Tile((30, 40), overlap)
    found = windows(size, tile)
    seen = np.zeros(size, np.int64)
    for top, left, bottom, right in found:
        assert 0 <= top < bottom <= size[0]
        assert 0 <= left < right <= size[1]
        assert (bottom - top, right - left) == (min(30, size[0]), min(40, size[1]))
        seen[top:bottom, left:right] += 1
    assert (seen > 0).all()
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    for axis in (0, 1):
        spans = sorted({(window[axis], window[axis + 2]) for window in found})
        for (_, stop), (start, _) in pairwise(spans):
            assert stop - start >= overlap


def test_as_few_windows_as_cover_it() -> None:
    assert windows((30, 40), Tile((30, 40), 10)) == [(0, 0, 30, 40)]
    assert windows((30, 70), Tile((30, 40), 10)) == [(0, 0, 30, 40), (0, 30, 30, 70)]
    assert windows((30, 71), Tile((30, 40), 10)) == [(0, 0, 30, 40), (0, 30, 30, 70), (0, 31, 30, 71)]
