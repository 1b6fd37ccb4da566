"""Test-time augmentation: what the views of an image are, how they are joined, and that the file, parity and the plans know of it."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from segline.data.store import PreparedDataset
from segline.errors import ExportError
from segline.evaluation.trained import load
from segline.export.onnx import write_onnx
from segline.export.parity import prove
from segline.layout import ModelFolder
from segline.metrics import catalog as metrics
from segline.models import catalog
from segline.models.semantic import SemanticNetwork
from segline.models.views import View
from segline.tasks import catalog as tasks
from segline.tasks.graph import EvalGraph
from segline.tasks.instance.views import InstanceViews
from segline.tasks.predictor import GraphPredictor
from segline.tasks.semantic.views import SemanticViews
from segline_runtime.predict import predict
from segline_runtime.predictions import InstancePrediction, SemanticPrediction
from segline_runtime.predictor import Predictor
from segline_runtime.specification import ClassInfo, Crf, Geometry, Specification, Tile

CLASSES = tuple(ClassInfo(i, f"class {i}", (40 * i, 90, 10), i > 0) for i in range(3))
STRETCH = Geometry("stretch", (48, 64))
FITS = [STRETCH, Geometry("shorter_side", (48, 64)), Geometry("letterbox", (48, 64)), Geometry("native", None)]
SIZES = [(48, 64), (33, 20), (101, 103), (1, 1)]
MIRRORED = (View(), View(mirrored=True))
ALL_WAYS = tuple(View(Fraction(1), upside_down, mirrored) for upside_down in (False, True) for mirrored in (False, True))
SCALED = (View(Fraction(3, 4)), View(), View(Fraction(5, 4), mirrored=True))


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    small = torch.from_numpy(np.random.default_rng(seed).random((1, 3, 6, 6), dtype=np.float32))
    large = functional.interpolate(small, size=(height, width), mode="bilinear")
    return (large[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)


def semantic(geometry: Geometry = STRETCH, *, kernel: int = 3, stride: int = 8, task: str = "semantic") -> EvalGraph:
    """Of a small network that tells left from right and up from down, and whose input must be padded to multiples of its stride."""
    torch.manual_seed(0)
    around = kernel // 2
    layers = nn.Sequential(nn.Conv2d(3, 8, kernel, padding=around), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, len(CLASSES), kernel, padding=around))
    with torch.no_grad():
        layers[3].weight.mul_(8)
    specification = Specification(task, "m", "d", CLASSES, geometry, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    return tasks.learning(task).graph(SemanticNetwork(layers, stride=stride), specification)


def instance(geometry: Geometry = STRETCH, *, threshold: float = 0.0) -> EvalGraph:
    torch.manual_seed(0)
    settings = factories.settings("maskrcnn", predict={"score_threshold": threshold, "max_detections": 8})
    network = catalog.build(settings, channels=3, classes=len(CLASSES))
    return tasks.learning("instance").graph(network, Specification("instance", "m", "d", CLASSES, geometry, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))


def exported(graph: EvalGraph, file: Path, exporter: Any = "torchscript") -> Predictor:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_onnx(graph, graph.specification, file, 18, exporter=exporter)
    return Predictor(file, threads=1)


def views_of(graph: EvalGraph, views: Any) -> EvalGraph:
    return tasks.with_views(graph.specification.task, graph, views)


def turned(image: NDArray[Any], view: View, rows: int = 0, columns: int = 1) -> NDArray[Any]:
    return np.ascontiguousarray(np.flip(image, view.axes(rows, columns)))


def shares(graph: EvalGraph, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Probabilities `(K, h, w)` of the size at which the network sees the image."""
    logits = graph.run(image[None])["logits"][0].astype(np.float64)
    exponentials = np.exp(logits - logits.max(0))
    return np.asarray(exponentials / exponentials.sum(0))


class TestSettings:
    @pytest.mark.parametrize("arch", ["unet", "maskrcnn", "deeplabv2"])
    def test_the_image_as_it_is_alone_is_no_augmentation(self, arch: str) -> None:
        assert factories.settings(arch).predict.views == ()
        assert factories.settings(arch, predict={"flips": "none", "scales": [1]}).predict.views == ()

    def test_each_size_in_each_way(self) -> None:
        predict = factories.settings("unet", predict={"flips": "both", "scales": [1.0, 1.25]}).predict
        assert len(set(predict.views)) == 8
        assert {view.factor for view in predict.views} == {Fraction(1), Fraction(5, 4)}
        assert set(factories.settings("unet", predict={"flips": "horizontal"}).predict.views) == set(MIRRORED)
        assert factories.settings("unet", predict={"flips": "vertical", "scales": [0.5]}).predict.views == (
            View(Fraction(1, 2)),
            View(Fraction(1, 2), upside_down=True),
        )

    @pytest.mark.parametrize("wrong", [{"flips": "diagonal"}, {"scales": []}, {"scales": [0]}, {"scales": [9]}, {"scales": [1, 1.0]}, {"scales": [".nan"]}])
    def test_what_makes_no_sense_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            factories.settings("unet", predict=wrong)


class TestSemantic:
    @pytest.mark.parametrize("geometry", FITS, ids=lambda geometry: geometry.fit)
    @pytest.mark.parametrize("size", SIZES)
    def test_of_a_network_that_sees_single_pixels_a_turned_image_says_the_same(self, geometry: Geometry, size: tuple[int, int]) -> None:
        graph = semantic(geometry, kernel=1)
        image = picture(*size)
        np.testing.assert_allclose(shares(views_of(graph, ALL_WAYS), image), shares(graph, image), atol=2e-5)

    @pytest.mark.parametrize("geometry", FITS, ids=lambda geometry: geometry.fit)
    def test_it_is_the_mean_of_the_turned_images_probabilities(self, geometry: Geometry) -> None:
        graph = semantic(geometry)
        image = picture(57, 90)
        single = [turned(shares(graph, turned(image, view)), view, 1, 2) for view in ALL_WAYS]
        assert np.abs(single[0] - single[3]).max() > 0.1, "the views say different things"
        np.testing.assert_allclose(shares(views_of(graph, ALL_WAYS), image), np.mean(single, axis=0), atol=1e-4)

    def test_a_scale_is_another_size_of_the_network(self) -> None:
        image = picture(57, 90)
        at_sizes = []
        for size in [(36, 48), (48, 64), (60, 80)]:
            shown = turned(image, View(mirrored=size == (60, 80)))
            logits = torch.from_numpy(semantic(Geometry("stretch", size)).run(shown[None])["logits"])
            of_size = functional.interpolate(logits, size=(48, 64), mode="bilinear").softmax(1)[0].numpy()
            at_sizes.append(turned(of_size, View(mirrored=size == (60, 80)), 1, 2))
        found = shares(views_of(semantic(), SCALED), image)
        np.testing.assert_allclose(found, np.mean(at_sizes, axis=0), atol=1e-5)

    @pytest.mark.parametrize(("size", "seen"), [((57, 91), (72, 114)), ((1, 1), (2, 2)), ((40, 60), (50, 75))])
    def test_an_image_of_its_own_size_is_enlarged_and_padded(self, size: tuple[int, int], seen: tuple[int, int]) -> None:
        graph: Any = semantic(FITS[3])
        shown = torch.from_numpy(picture(*size)[None])
        with torch.no_grad():
            assert graph.seen(shown, Fraction(5, 4)).shape == (1, len(CLASSES), *seen)
        found = views_of(graph, (View(Fraction(5, 4)),)).run(shown.numpy())
        assert found["class_ids"].shape == (1, *size)
        assert found["logits"].shape == (1, len(CLASSES), *size)

    def test_what_no_view_thinks_possible_is_a_number(self) -> None:
        graph = semantic(kernel=1)
        with torch.no_grad():
            graph.network.network[3].bias.copy_(torch.tensor([0.0, 300.0, -300.0]))  # type: ignore[union-attr, index, operator]
        logits = views_of(graph, MIRRORED).run(picture(20, 30)[None])["logits"]
        assert np.isfinite(logits).all() and (logits.argmax(1) == 1).all()

    def test_augmentation_of_a_graph_that_is_augmented_itself(self) -> None:
        """As of one that holds several networks, each with its own."""
        inner = views_of(semantic(), MIRRORED)
        image = picture(57, 90)
        twice = views_of(inner, (View(), View(upside_down=True)))
        np.testing.assert_allclose(shares(twice, image), shares(views_of(semantic(), ALL_WAYS), image), atol=1e-5)
        scaled = views_of(inner, (View(Fraction(5, 4)),)).run(image[None])
        assert scaled["logits"].shape == (1, len(CLASSES), 48, 64)

    def test_batches_and_windows(self) -> None:
        graph = views_of(semantic(Geometry("native", None, Tile((48, 48), 16))), SCALED)
        image = picture(70, 100)
        by_windows = predict(graph.run, graph.specification, image, probabilities=True)
        assert isinstance(by_windows, SemanticPrediction) and by_windows.probabilities is not None
        np.testing.assert_allclose(by_windows.probabilities.sum(0), 1, atol=1e-5)
        graph = views_of(semantic(), SCALED)
        images = [picture(40, 50, seed) for seed in range(3)]
        for one, together in zip(images, GraphPredictor(graph, graph.specification)(images), strict=True):
            assert isinstance(together, SemanticPrediction)
            np.testing.assert_array_equal(together.class_ids, graph.run(one[None])["class_ids"][0])


class TestInstance:
    def test_one_view_is_the_detector_itself(self) -> None:
        graph = instance()
        image = picture(57, 90)
        alone, one = graph.run(image[None]), InstanceViews(graph, (View(),)).run(image[None])  # type: ignore[arg-type]
        assert len(alone["scores"]) == 8
        for name, value in alone.items():
            np.testing.assert_allclose(one[name], value, rtol=1e-5, atol=1e-4)

    @pytest.mark.parametrize("view", ALL_WAYS[1:], ids=str)
    def test_a_turned_image_gives_the_turned_detections(self, view: View) -> None:
        graph = instance()
        image = picture(48, 64)
        plain = graph.run(turned(image, view)[None])
        back = InstanceViews(graph, (view,)).run(image[None])  # type: ignore[arg-type]
        x0, y0, x1, y1 = plain["boxes"].T
        if view.upside_down:
            y0, y1 = 48 - y1, 48 - y0
        if view.mirrored:
            x0, x1 = 64 - x1, 64 - x0
        np.testing.assert_allclose(back["boxes"], np.stack([x0, y0, x1, y1], 1), atol=1e-3)
        np.testing.assert_allclose(back["scores"], plain["scores"], atol=1e-6)
        np.testing.assert_allclose(back["masks"], turned(plain["masks"], view, 1, 2), atol=1e-4)

    def test_of_several_views_the_surest_box_of_each_object_is_kept_with_the_mean_of_all_masks(self) -> None:
        graph, image = instance(), picture(57, 90)
        found = views_of(graph, (*MIRRORED, View(Fraction(5, 4)))).run(image[None])
        singles = [InstanceViews(graph, (view,)).run(image[None]) for view in (*MIRRORED, View(Fraction(5, 4)))]  # type: ignore[arg-type]
        assert len(found["scores"]) == 8 and (np.diff(found["scores"]) <= 0).all()
        assert found["scores"][0] == pytest.approx(max(one["scores"][0] for one in singles), abs=1e-6)
        for box, label, score in zip(found["boxes"], found["labels"], found["scores"], strict=True):
            nearest = min(np.abs(np.column_stack([one["boxes"] - box, one["scores"] - score, one["labels"] - label])).max(1).min() for one in singles)
            assert nearest < 1e-3, "each is a detection of one of the views"
        for i in range(8):
            same = (found["labels"] == found["labels"][i]) & (np.arange(8) < i)
            for other in found["boxes"][same]:
                assert _iou(found["boxes"][i], other) <= 0.5
        detecting: Any = graph
        detector: Any = graph.network.eval()
        with torch.no_grad():
            masks = []
            for view in MIRRORED:
                seen = detecting.look(torch.from_numpy(turned(image, view)[None].copy()))
                x0, y0, x1, y1 = torch.from_numpy(found["boxes"]).unbind(1)
                boxes = torch.stack([90 - x1, y0, 90 - x0, y1] if view.mirrored else [x0, y0, x1, y1], 1) * torch.tensor([64 / 90, 48 / 57, 64 / 90, 48 / 57])
                of_view = detector.masks(seen, boxes, torch.from_numpy(found["labels"]))
                masks.append(of_view.flip(2) if view.mirrored else of_view)
        two = views_of(graph, MIRRORED).run(image[None])
        assert two["masks"].shape == (8, 28, 28)
        both = torch.stack(masks).mean(0).numpy()
        shared = [(i, j) for i in range(8) for j in range(8) if np.abs(found["boxes"][i] - two["boxes"][j]).max() < 1e-3]
        assert shared, "an object that is found with and without the larger view"
        for i, j in shared:
            np.testing.assert_allclose(two["masks"][j], both[i], atol=1e-3)

    def test_nothing_found_is_nothing(self) -> None:
        found = views_of(instance(threshold=0.999), SCALED).run(picture(57, 90)[None])
        assert found["boxes"].shape == (0, 4) and found["masks"].shape == (0, 28, 28)


def _iou(a: NDArray[Any], b: NDArray[Any]) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    both = float(sides.prod())
    return both / float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - both)


class TestMultilabel:
    def test_the_probability_of_each_class_is_the_mean_of_those_of_the_views(self) -> None:
        graph, image = semantic(task="multilabel"), picture(48, 64)
        parts = []
        for view in ALL_WAYS:
            logits = graph.run(turned(image, view)[None])["logits"][0].astype(np.float64)
            parts.append(turned(1 / (1 + np.exp(-logits)), view, 1, 2))
        found = views_of(graph, ALL_WAYS).run(image[None])
        mean = np.mean(parts, axis=0)
        np.testing.assert_allclose(1 / (1 + np.exp(-found["logits"][0].astype(np.float64))), mean, atol=1e-6)
        np.testing.assert_array_equal(found["masks"][0], mean >= 0.5)
        assert 0 < found["masks"].mean() < 1

    def test_a_network_that_is_sure_of_everything_is_exported_as_it_is(self, tmp_path: Path) -> None:
        graph = semantic(task="multilabel")
        with torch.no_grad():
            graph.network.network[3].weight.mul_(30)  # type: ignore[union-attr, operator, index]
        graph = views_of(graph, MIRRORED)
        predictor, image = exported(graph, tmp_path / "model.onnx"), picture(57, 90)
        figures = tasks.get("multilabel").disagreement(predict(graph.run, graph.specification, image, probabilities=True), predictor(image, probabilities=True))
        assert figures["probability"] < 1e-3 and figures["differing_pixels"] < 1e-3


class TestExport:
    @pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
    @pytest.mark.parametrize("geometry", FITS, ids=lambda geometry: geometry.fit)
    @pytest.mark.parametrize("task", ["semantic", "multilabel"])
    def test_the_file_says_the_same_at_any_size(self, tmp_path: Path, geometry: Geometry, exporter: str, task: str) -> None:
        if exporter == "dynamo" and geometry.fit not in ("stretch", "native"):
            pytest.skip("the newer exporter is for stretch and native alone")
        graph = views_of(semantic(geometry, task=task), SCALED)
        predictor = exported(graph, tmp_path / "model.onnx", exporter)
        for size in SIZES:
            image = picture(*size)
            ours = predict(graph.run, graph.specification, image, probabilities=True)
            figures = tasks.get(task).disagreement(ours, predictor(image, probabilities=True))
            assert figures["probability"] < 1e-4 and figures["differing_pixels"] < 0.005, size

    def test_a_detectors_file_too_and_it_holds_its_weights_once(self, tmp_path: Path) -> None:
        graph = instance()
        exported(graph, tmp_path / "plain.onnx")
        graph = views_of(graph, SCALED)
        predictor = exported(graph, tmp_path / "model.onnx")
        assert (tmp_path / "model.onnx").stat().st_size < 1.1 * (tmp_path / "plain.onnx").stat().st_size
        for size in SIZES:
            image = picture(*size)
            ours, theirs = predict(graph.run, graph.specification, image), predictor(image)
            assert isinstance(ours, InstancePrediction) and len(ours.scores) > 0
            figures = tasks.get("instance").disagreement(ours, theirs)
            assert figures["unmatched"] == 0 and figures["box_px"] < 1e-2 and figures["score"] < 1e-4, size

    def test_a_detectors_file_that_finds_nothing(self, tmp_path: Path) -> None:
        predictor = exported(views_of(instance(threshold=0.999), MIRRORED), tmp_path / "model.onnx")
        found = predictor(picture(33, 20))
        assert isinstance(found, InstancePrediction) and found.masks.shape == (0, 33, 20)


class _NotTurnedBack(SemanticViews):
    def _of_view(self, images: Tensor, view: View, factor: Fraction) -> Tensor:
        probabilities = super()._of_view(images, view, factor)
        return probabilities.flip(view.axes(2, 3)) if view.flipped else probabilities


class _OneViewLess(SemanticViews):
    def __init__(self, graph: Any, views: Any) -> None:
        super().__init__(graph, views[:-1])


class _WrongScale(SemanticViews):
    def __init__(self, graph: Any, views: Any) -> None:
        super().__init__(graph, [replace(view, factor=view.factor * Fraction(9, 8)) if view.factor > 1 else view for view in views])


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return factories.squares_dataset(tmp_path_factory.mktemp("squares"), [(57, 70), (48, 64)])


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return factories.shapes_dataset(tmp_path_factory.mktemp("shapes"), train=2, val=1, test=1)


class TestParity:
    def test_the_model_itself_is_proved(self, tmp_path: Path, squares: PreparedDataset) -> None:
        assert self._proved(SemanticViews, tmp_path, squares)["latency"]["runs"] == 1

    @pytest.mark.parametrize("mutant", [_NotTurnedBack, _OneViewLess, _WrongScale])
    def test_other_views_are_rejected(self, tmp_path: Path, squares: PreparedDataset, mutant: type[SemanticViews]) -> None:
        with pytest.raises(ExportError, match="differ by more than rounding"):
            self._proved(mutant, tmp_path, squares)

    def test_a_refined_model_is_proved_as_it_predicts_and_one_without_is_another(self, tmp_path: Path, squares: PreparedDataset) -> None:
        graph = semantic()
        plain, refined = (replace(graph.specification, crf=one) for one in (None, Crf(5, 4.0, 20.0, 20.0, 3.0, 3.0)))
        graph.specification = refined
        task = tasks.get("semantic")
        for carried in (refined, plain):
            write_onnx(graph, carried, tmp_path / "model.onnx", 18)
            arguments: dict[str, Any] = {"metrics": [metrics.get("iou")], "tolerance": 1.0, "latency_runs": 1, "opset": 18, "progress": False}
            if carried is refined:
                prove(graph, tmp_path / "model.onnx", squares.split("test", task.truths), task, **arguments)
                continue
            with pytest.raises(ExportError, match="differ by more than rounding"):
                prove(graph, tmp_path / "model.onnx", squares.split("test", task.truths), task, **arguments)

    @staticmethod
    def _proved(kind: type[SemanticViews], folder: Path, squares: PreparedDataset) -> dict[str, Any]:
        graph: Any = semantic()
        file, task = folder / "model.onnx", tasks.get("semantic")
        write_onnx(kind(graph, SCALED), graph.specification, file, 18)
        words = [metrics.get(word) for word in task.metrics]
        split = squares.split("test", task.truths)
        return prove(SemanticViews(graph, SCALED), file, split, task, metrics=words, tolerance=1.0, latency_runs=1, opset=18, progress=False)


class TestPlans:
    @pytest.mark.parametrize("arch", ["unet", "maskrcnn", "deeplabv1"])
    def test_it_is_evaluated_and_exported_anew_and_not_trained(self, shapes: PreparedDataset, arch: str) -> None:
        before = factories.plans("m", factories.settings(arch), shapes)
        after = factories.plans("m", factories.settings(arch, predict={"flips": "horizontal", "scales": [1.0, 1.25]}), shapes)
        assert (after.train.to_json(), after.train.key) == (before.train.to_json(), before.train.key)
        assert after.register == before.register
        assert after.evaluate.to_json() != before.evaluate.to_json() and after.export.to_json() != before.export.to_json()
        assert json.loads(json.dumps(after.export.to_json()["settings"]["predict"]))["scales"] == [1.0, 1.25]

    @pytest.mark.parametrize(
        ("changes", "module"),
        [({"flips": "horizontal"}, "segline.tasks.semantic.views"), ({"crf": {}}, "segline_runtime.crf"), ({"crf": {}}, "segline_runtime.permutohedral")],
    )
    def test_its_code_belongs_to_the_models_that_use_it(self, shapes: PreparedDataset, changes: dict[str, Any], module: str) -> None:
        """Seen by the digests: of the plans with it they are others than without, and no training's is."""
        plain = factories.plans("m", factories.settings("deeplabv1"), shapes)
        used = factories.plans("m", factories.settings("deeplabv1", predict=changes), shapes)
        assert used.train.code == plain.train.code
        assert used.evaluate.code != plain.evaluate.code and used.export.code != plain.export.code
        assert factories.code()._find(module), "there is no such module"

    def test_what_was_trained_without_it_predicts_with_it(self, shapes: PreparedDataset, tmp_path: Path) -> None:
        settings = factories.settings("fcn32s", predict={"flips": "horizontal"})
        plans = factories.plans("m", settings, shapes)
        folder = ModelFolder(tmp_path / "m")
        factories.untrained(folder, plans.train, shapes)
        trained = load(folder, plans.evaluate, torch.device("cpu"))
        assert isinstance(trained.graph, SemanticViews) and trained.graph.views == MIRRORED
        plain = load(folder, factories.plans("m", factories.settings("fcn32s"), shapes).evaluate, torch.device("cpu"))
        assert not isinstance(plain.graph, SemanticViews)
        assert plain.specification == trained.specification
