"""Dense CRF: the lattice beside sums over all pairs of points, mean field beside one that holds every pair of pixels, and where predictions meet it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import factories
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from segline_runtime import crf
from segline_runtime.permutohedral import Lattice
from segline_runtime.predict import predict
from segline_runtime.predictions import SemanticPrediction
from segline_runtime.specification import ClassInfo, Crf, Geometry, ImageKind, Specification, Tile

LARGE_FOV = Crf(10, 4.0, 49.0, 5.0, 3.0, 3.0)
RESNET = Crf(10, 4.0, 67.0, 3.0, 3.0, 1.0)
WIDE = Crf(5, 4.0, 20.0, 20.0, 3.0, 3.0)
COLOURS = np.array([[60, 90, 200], [90, 160, 60], [210, 60, 50]])


def scene(height: int, width: int, noise: float = 8.0) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.float32]]:
    """Classes `(H, W)` of a disc over a horizon, a noisy picture of them, and coarse, shifted and uncertain probabilities `(3, H, W)` for them."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    classes = (y >= height // 3).astype(np.int64)
    classes[(y - height / 2) ** 2 + (x - width / 2) ** 2 < (height / 4) ** 2] = 2
    image = np.clip(COLOURS[classes] + random.normal(0, noise, (height, width, 3)), 0, 255).astype(np.uint8)
    coarse = random.normal(0, 1.0, (3, height // 4 + 1, width // 4 + 1)).repeat(4, 1).repeat(4, 2)[:, :height, :width]
    shares = np.exp(coarse + 1.2 * (np.arange(3)[:, None, None] == np.roll(classes, 3, 1)))
    return classes, image, (shares / shares.sum(0)).astype(np.float32)


def all_pairs(probabilities: NDArray[np.float32], image: NDArray[Any], settings: Crf, scale: float = 255.0) -> NDArray[np.float64]:
    """Mean field with the kernels written out, `(H·W, H·W)` numbers each."""
    classes, height, width = probabilities.shape
    places = np.stack(np.mgrid[:height, :width], -1).reshape(-1, 2).astype(float)
    colours = image.reshape(height * width, -1) * (255 / scale)
    apart = ((places[:, None] - places) ** 2).sum(-1)
    unlike = ((colours[:, None] - colours) ** 2).sum(-1)
    kernels = (
        (settings.appearance, np.exp(-apart / (2 * settings.appearance_position**2) - unlike / (2 * settings.appearance_colour**2))),
        (settings.smoothness, np.exp(-apart / (2 * settings.smoothness_position**2))),
    )
    evidence = np.log(np.maximum(probabilities, 1e-5)).reshape(classes, -1).astype(float)
    current = probabilities.reshape(classes, -1).astype(float)
    for _ in range(settings.iterations):
        likely = evidence.copy()
        for weight, kernel in kernels:
            sums = np.sqrt(kernel.sum(1))
            likely += weight * (current / sums) @ kernel / sums
        current = np.exp(likely - likely.max(0))
        current /= current.sum(0)
    return current.reshape(probabilities.shape)


def specification(refinement: Crf | None, geometry: Geometry | None = None) -> Specification:
    classes = tuple(ClassInfo(i, f"class {i}", (i, 0, 0), i > 0) for i in range(3))
    return Specification("semantic", "m", "d", classes, geometry or Geometry("native", None), (0.0,) * 3, (1.0,) * 3, crf=refinement)


class TestLattice:
    @pytest.mark.parametrize(("dimensions", "worst", "mean"), [(1, 0.03, 0.001), (2, 0.12, 0.003), (3, 0.15, 0.006)])
    def test_normalised_it_is_the_gaussian_nearly(self, dimensions: int, worst: float, mean: float) -> None:
        random = np.random.default_rng(0)
        points = random.normal(size=(dimensions, 1500)).astype(np.float32) * 2
        values = random.random((2, 1500)).astype(np.float32)
        kernel = np.exp(-0.5 * ((points.T[:, None] - points.T) ** 2).sum(-1))
        exact = values @ kernel / kernel.sum(0)
        lattice = Lattice(points)
        error = np.abs(lattice.filter(values) / lattice.filter(np.ones((1, 1500), np.float32)) - exact)
        assert error.max() < worst and error.mean() < mean

    @pytest.mark.parametrize("dimensions", [1, 3, 5, 9])
    def test_each_point_is_shared_among_the_corners_of_its_cell(self, dimensions: int) -> None:
        lattice = Lattice(np.random.default_rng(1).normal(size=(dimensions, 500)).astype(np.float32) * 30)
        assert lattice._weights.shape == (dimensions + 1, 500)
        np.testing.assert_allclose(lattice._weights.sum(0), 1, atol=1e-4)
        assert lattice._weights.min() > -1e-3
        for corners in lattice._places.T:
            assert len(set(corners.tolist())) == dimensions + 1

    def test_far_apart_points_say_nothing_to_each_other_and_equal_ones_are_one(self) -> None:
        points = np.array([[0, 0, 500, -9000], [0, 0, 500, 7000]], np.float32)
        found = Lattice(points).filter(np.array([[1, 2, 5, 7]], np.float32))[0]
        alone = Lattice(points[:, 2:3]).filter(np.array([[5]], np.float32))[0, 0]
        assert found[0] == found[1]
        assert found[2] == pytest.approx(alone, rel=1e-3)

    def test_coordinates_that_do_not_fit_into_one_number_each(self) -> None:
        random = np.random.default_rng(2)
        near, far = random.normal(size=(6, 300)).astype(np.float32), np.full((6, 1), 1e6, np.float32)
        values = random.random((1, 301)).astype(np.float32)
        apart = Lattice(np.hstack([near, far])).filter(values)[0, :-1]
        np.testing.assert_allclose(apart, Lattice(near).filter(values[:, :-1])[0], rtol=1e-4)


class TestMeanField:
    @pytest.mark.parametrize(("settings", "mean", "differing"), [(LARGE_FOV, 0.005, 0.005), (RESNET, 0.02, 0.02), (WIDE, 0.002, 0.002)])
    def test_it_is_that_of_all_pairs_nearly(self, settings: Crf, mean: float, differing: float) -> None:
        classes, image, probabilities = scene(32, 40)
        found, exact = crf.refined(probabilities, image, ImageKind(), settings), all_pairs(probabilities, image, settings)
        np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
        assert np.abs(found - exact).mean() < mean
        assert (found.argmax(0) != exact.argmax(0)).mean() <= differing
        before, after = ((some.argmax(0) == classes).mean() for some in (probabilities, found))
        assert after > before + 0.1

    def test_one_step_is_exact_where_positions_alone_count(self) -> None:
        _, image, probabilities = scene(150, 20)
        settings = Crf(3, 0.0, 1.0, 1.0, 2.0, 2.5)
        np.testing.assert_allclose(crf.refined(probabilities, image, ImageKind(), settings), all_pairs(probabilities, image, settings), atol=1e-3)

    @pytest.mark.parametrize("kind", [ImageKind(channels=1), ImageKind(channels=5, dtype="float32", scale=1.0), ImageKind(dtype="uint16", scale=65535.0)])
    def test_colours_of_any_kind_are_scaled(self, kind: ImageKind) -> None:
        _, image, probabilities = scene(24, 32)
        values = np.concatenate([image, image], axis=2)[:, :, : kind.channels] / 255
        given = (values * kind.scale).astype(kind.dtype)
        found, exact = crf.refined(probabilities, given, kind, WIDE), all_pairs(probabilities, given, WIDE, kind.scale)
        assert np.abs(found - exact).mean() < 0.005

    def test_an_image_of_one_pixel_and_one_colour(self) -> None:
        one = np.array([0.2, 0.5, 0.3], np.float32)[:, None, None]
        assert crf.refined(one, np.zeros((1, 1, 3), np.uint8), ImageKind(), LARGE_FOV).argmax() == 1
        even = np.broadcast_to(one, (3, 7, 5)).copy()
        found = crf.refined(even, np.full((7, 5, 3), 9, np.uint8), ImageKind(), LARGE_FOV)
        assert (found.argmax(0) == 1).all() and np.isfinite(found).all()

    def test_what_it_is_given_stays_as_it_is(self) -> None:
        _, image, probabilities = scene(12, 16)
        before = probabilities.copy()
        crf.refined(probabilities, image, ImageKind(), LARGE_FOV)
        np.testing.assert_array_equal(probabilities, before)


class TestPrediction:
    """Of whatever runs the network: here it gives the scene's probabilities."""

    @staticmethod
    def _run(probabilities: NDArray[np.float32], asked: list[bool]) -> Any:
        def run(images: NDArray[Any], wanted: bool) -> Mapping[str, NDArray[Any]]:
            asked.append(wanted)
            height, width = images.shape[1:3]
            top, left = int(images[0, 0, 0, 0]), int(images[0, 0, 0, 1])
            part = probabilities[None, :, top : top + height, left : left + width]
            return {"class_ids": part.argmax(1).astype(np.uint8)} | ({"probabilities": part} if wanted else {})

        return run

    @staticmethod
    def _located(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The first channels say where a pixel is, so that `_run` knows its window."""
        found = image.copy()
        found[:, :, 0], found[:, :, 1] = np.mgrid[: image.shape[0], : image.shape[1]]
        return found

    def test_probabilities_are_given_where_they_are_asked_for(self) -> None:
        _, image, probabilities = scene(40, 48)
        image, asked = self._located(image), []  # type: ignore[var-annotated]
        run, settings = self._run(probabilities, asked), specification(WIDE)
        without, full = predict(run, settings, image), predict(run, settings, image, probabilities=True)
        assert isinstance(without, SemanticPrediction) and isinstance(full, SemanticPrediction)
        assert asked == [True, True] and without.probabilities is None and full.probabilities is not None
        np.testing.assert_array_equal(without.class_ids, full.class_ids)
        np.testing.assert_array_equal(full.class_ids, full.probabilities.argmax(0))
        np.testing.assert_allclose(full.probabilities, crf.refined(probabilities, image, ImageKind(), WIDE), atol=1e-6)
        plain = predict(run, specification(None), image)
        assert isinstance(plain, SemanticPrediction)
        assert asked[-1] is False and (plain.class_ids != full.class_ids).any()

    def test_windows_are_refined_each_by_itself_and_joined(self) -> None:
        _, image, probabilities = scene(60, 80)
        image, narrow = self._located(image), Crf(5, 4.0, 4.0, 60.0, 3.0, 1.0)
        run = self._run(probabilities, [])
        tiled, whole = (specification(narrow, Geometry("native", None, tile)) for tile in (Tile((40, 40), 18), None))
        by_windows, in_one = (predict(run, one, image, probabilities=True) for one in (tiled, whole))
        assert isinstance(by_windows, SemanticPrediction) and isinstance(in_one, SemanticPrediction)
        assert by_windows.probabilities is not None
        np.testing.assert_allclose(by_windows.probabilities.sum(0), 1, atol=1e-4)
        assert (by_windows.class_ids != in_one.class_ids).mean() < 0.03


class TestSettings:
    @pytest.mark.parametrize(("arch", "published"), [("deeplabv1", LARGE_FOV), ("deeplabv2", RESNET)])
    def test_the_first_two_deeplabs_have_it_with_their_papers_values(self, arch: str, published: Crf) -> None:
        assert factories.settings(arch).predict.refinement is None
        assert factories.settings(arch, predict={"crf": {}}).predict.refinement == published
        assert factories.settings(arch, predict={"crf": {"iterations": 3}}).predict.refinement.iterations == 3  # type: ignore[union-attr]

    def test_others_have_not(self) -> None:
        with pytest.raises(ValidationError, match=r"predict\.crf"):
            factories.settings("unet", predict={"crf": {}})

    @pytest.mark.parametrize("wrong", [{"iterations": 0}, {"appearance_colour": 0}, {"appearance": -1}, {"appearance": 0, "smoothness": 0}, {"weight": 1}])
    def test_what_makes_no_sense_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            factories.settings("deeplabv1", predict={"crf": wrong})
