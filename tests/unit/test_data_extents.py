"""Sizes of training images, objects and parts of classes: counted as one would by hand, in any order, of the train split alone, and read back or refused."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import factories
import numpy as np
import pytest

from segline.data import extents
from segline.data.extents import Extents, Sizes
from segline.errors import DataError

_BIN = 2 ** (1 / 16)


def close(value: float) -> object:
    """Within one bin."""
    return pytest.approx(value, rel=_BIN - 1)


class TestSizes:
    @pytest.mark.parametrize("value", [0.01, 0.5, 1.0, 3.0, 479.0, 512.0, 8191.0])
    def test_one_value_is_kept_within_four_percent(self, value: float) -> None:
        sizes = Sizes()
        sizes.add(value)
        assert all(sizes.quantile(share) == close(value) for share in (0.0, 0.5, 1.0))

    def test_quantiles_are_those_of_the_values(self) -> None:
        values = [random.Random(0).lognormvariate(3, 1) for _ in range(1000)]
        sizes = Sizes()
        for value in values:
            sizes.add(value)
        assert sizes.count == 1000
        for share in (0.0, 0.05, 0.1, 0.5, 0.9, 1.0):
            assert sizes.quantile(share) == close(float(np.quantile(values, share, method="lower")))

    def test_shares(self) -> None:
        sizes = Sizes()
        for value in (0.5, 0.5, 0.75, 2.0):
            sizes.add(value)
        assert sizes.share(0, 0.9) == 0.75 and sizes.share(1.1, float("inf")) == 0.25 and Sizes().share(0, 1) == 0


class TestOneImage:
    def test_image_and_objects(self) -> None:
        found = Extents.of((100, 400), None, [(20, 10), (50, 200), (0, 9), (9, 0)])
        assert found.shapes.quantile(0.5) == close(0.25) and found.longer.quantile(0.5) == close(400)
        assert found.object_sides.count == 2, "boxes without an area are none"
        assert found.object_sides.quantile(0) == close((200 / 40_000) ** 0.5) and found.object_sides.quantile(1) == close(0.5)
        assert found.object_shapes.quantile(0) == close(0.25) and found.object_shapes.quantile(1) == close(2)

    @pytest.mark.parametrize("width", [1, 3, 8])
    def test_a_stripe_is_as_wide_as_it_is(self, width: int) -> None:
        mask = np.zeros((40, 60), np.uint8)
        mask[:, 10 : 10 + width] = 1
        mask[:, 30 : 30 + width] = 1
        found = Extents.of((40, 60), mask, [])
        assert found.width_of(1) == width
        assert found.width_of(2) is None and Extents.of((4, 4), np.ones((4, 4), np.uint8), []).width_of(1) is None

    def test_ignored_pixels_are_no_class(self) -> None:
        mask = np.full((9, 9), 255, np.uint8)
        mask[:, 3:6] = 1
        found = Extents.of((9, 9), mask, [])
        assert set(found.class_pixels) == {1} and set(found.class_edges) == {1} and found.width_of(1) == 3


def images() -> list[Extents]:
    rng = np.random.default_rng(0)
    return [Extents.of((48, int(w)), rng.integers(0, 4, (48, int(w)), dtype=np.uint8), [(5, int(w) / 2)]) for w in rng.integers(20, 200, 12)]


def test_the_order_of_images_does_not_matter(tmp_path: Path) -> None:
    texts = []
    for order in (images(), images()[::-1]):
        whole = Extents()
        for one in order:
            whole.merge(one)
        whole.write(tmp_path)
        texts.append((tmp_path / extents.EXTENTS).read_text())
        assert extents.read(tmp_path) == whole
    assert texts[0] == texts[1] and whole.shapes.count == 12


def test_prepare_counts_the_training_images_alone(tmp_path: Path) -> None:
    dataset = factories.shapes_dataset(tmp_path, size=(48, 80))
    found = extents.read(dataset.folder)
    assert found is not None
    assert found.shapes.count == dataset.info.counts["train"] == 4
    assert found.object_sides.count == dataset.info.instance_counts["train"]
    assert [found.class_pixels[label] for label in range(len(dataset.info.classes))] == list(dataset.info.class_pixels)
    boxes = np.concatenate([sample.instances.boxes for sample in dataset.split("train", ("instances",))])
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / (48 * 80))
    assert found.object_sides.quantile(0.5) == close(float(np.quantile(sides, 0.5, method="lower")))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"version": 99}', "was written by a later Segline .version 99, this one reads up to 1.; update Segline"),
        ("[]", r"cannot be read .*run `dvc repro -f prepare`"),
        ("{", r"cannot be read .*run `dvc repro -f prepare`"),
        ('{"version": 1}', r"cannot be read .*run `dvc repro -f prepare`"),
        ('{"version": 1, "shapes": {"a": 1}}', r"cannot be read .*run `dvc repro -f prepare`"),
        ('{"version": 1, "shapes": {"1": -1}}', r"cannot be read .*run `dvc repro -f prepare`"),
        ('{"version": 1, "shapes": {"9999999999": 1}}', r"cannot be read .9999999999 is no size.*run `dvc repro -f prepare`"),
        (json.dumps({"version": 1, **{key: {} for key in vars(Extents())}, "shapes": {"1": 2}}), r"cannot be read .its counts do not fit each other"),
        ('{"version": 1, "shapes": [1]}', r"cannot be read .*run `dvc repro -f prepare`"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / extents.EXTENTS).write_text(content)
    with pytest.raises(DataError, match=sentence):
        extents.read(tmp_path)


def test_golden_file(tmp_path: Path) -> None:
    """As version 1 was first written."""
    golden = Path(__file__).resolve().parents[1] / "golden" / "v1" / extents.EXTENTS
    shutil.copy(golden, tmp_path)
    found = extents.read(tmp_path)
    assert found is not None and found.longer.quantile(0.5) == close(128) and found.object_sides.count == 49
    found.write(tmp_path)
    assert json.loads((tmp_path / extents.EXTENTS).read_text()) == json.loads(golden.read_text())


def test_data_of_earlier_seglines_has_none(tmp_path: Path) -> None:
    assert extents.read(tmp_path) is None
