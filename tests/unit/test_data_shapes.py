"""The generated data set: seeded, geometric, touching, and beyond a pixel classifier."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix

from segline.data import shapes

SIZE = (96, 128)


@pytest.fixture(scope="module")
def scenes():
    return [shapes.scene(SIZE, (0, 2, i)) for i in range(60)]


def semantic(scene):
    mask = np.zeros(SIZE, dtype=np.int64)
    for label, visible in zip(scene.labels, scene.visible, strict=True):
        mask[visible] = label + 1
    return mask


def test_a_seed_gives_the_same_images_and_another_seed_others(tmp_path):
    counts = {"train": 2, "val": 1, "test": 1}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        shapes.generate(tmp_path / name, counts, SIZE, seed)
    files = {name: {f.relative_to(tmp_path / name): f.read_bytes() for f in (tmp_path / name).rglob("*") if f.is_file()} for name in "abc"}
    assert files["a"] == files["b"]
    assert files["a"].keys() == files["c"].keys()
    assert all(files["a"][f] != files["c"][f] for f in files["a"])


def test_more_images_leave_the_first_ones_as_they_are(tmp_path):
    shapes.generate(tmp_path / "few", {"train": 1, "val": 1, "test": 1}, SIZE, 0)
    shapes.generate(tmp_path / "more", {"train": 2, "val": 1, "test": 1}, SIZE, 0)
    for split in ("train", "val", "test"):
        assert (tmp_path / "few" / split / "000000.png").read_bytes() == (tmp_path / "more" / split / "000000.png").read_bytes()


def test_there_are_four_classes_and_all_are_common(scenes):
    assert len(set(shapes.CLASSES)) >= 4
    counts = np.bincount([label for s in scenes for label in s.labels], minlength=len(shapes.CLASSES))
    assert counts.min() > 0.5 * counts.mean()
    assert all(2 <= len(s.labels) <= 6 for s in scenes)


def test_a_third_of_the_objects_touch_or_overlap_another(scenes):
    neighbourhood = np.ones((3, 3), dtype=np.uint8)
    touching = total = 0
    for scene in scenes:
        grown = [cv2.dilate(mask.astype(np.uint8), neighbourhood) > 0 for mask in scene.visible]
        for i, mask in enumerate(grown):
            total += 1
            touching += any(bool((mask & other).any()) for j, other in enumerate(scene.visible) if j != i)
    assert touching / total >= 0.3


def test_objects_stay_visible_and_do_not_share_pixels(scenes):
    for scene in scenes:
        assert scene.visible.sum(axis=0).max() == 1
        pixels = scene.visible.sum(axis=(1, 2))
        assert (pixels >= 60).all()
        assert (pixels >= 0.45 * scene.whole.sum(axis=(1, 2))).all()


def test_colour_does_not_tell_the_classes_apart(scenes):
    means = [[s.image[m].mean(axis=0) for s in scenes for label, m in zip(s.labels, s.visible, strict=True) if label == c] for c in range(len(shapes.CLASSES))]
    centres = np.array([np.mean(m, axis=0) for m in means])
    spread = np.mean([np.std(m, axis=0) for m in means])
    assert np.abs(centres - centres.mean(axis=0)).max() < spread


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (200, 320)])
def test_every_size_has_objects(size):
    for i in range(5):
        scene = shapes.scene(size, (1, 0, i))
        assert scene.image.shape == (*size, 3)
        assert len(scene.labels) >= 1


def test_a_pixel_classifier_fails(scenes):
    """RGB of a pixel and its 3x3 neighbourhood, a random forest, pooled mean IoU of all classes with the background."""

    def features(scene):
        padded = np.pad(scene.image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
        return np.concatenate([padded[y : y + SIZE[0], x : x + SIZE[1]].reshape(-1, 3) for y in range(3) for x in range(3)], axis=1)

    rng = np.random.default_rng(0)
    train, test = [shapes.scene(SIZE, (0, 0, i)) for i in range(60)], scenes[:20]
    x, y = np.concatenate([features(s) for s in train]), np.concatenate([semantic(s).ravel() for s in train])
    truth = np.concatenate([semantic(s).ravel() for s in test])
    # Once with as many pixels of each class, so that it does not settle for the background, and once as they come.
    balanced = np.concatenate([rng.choice(np.flatnonzero(y == c), 3000, replace=False) for c in range(len(shapes.CLASSES) + 1)])
    scores = []
    for rows in (balanced, rng.choice(len(y), len(balanced), replace=False)):
        classifier = RandomForestClassifier(30, min_samples_leaf=3, random_state=0).fit(x[rows], y[rows])
        table = confusion_matrix(truth, np.concatenate([classifier.predict(features(s)) for s in test]))
        hits = np.diag(table)
        scores.append(float(np.mean(hits / (table.sum(axis=0) + table.sum(axis=1) - hits))))
    assert max(scores) <= 0.45
    assert max(scores) <= 0.3, f"measured {scores}: within the limit, but no longer well below it"
