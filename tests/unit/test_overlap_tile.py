"""The overlap-tile strategy (Ronneberger 2015): a large image by windows, each pixel from one that sees all that the network sees around it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from segline.export.onnx import write_onnx
from segline.export.stage import export
from segline.layout import ModelFolder
from segline.models import catalog
from segline.models.settings import ModelSettings
from segline.plan import plans as written
from segline.tasks import catalog as tasks
from segline.tasks.graph import EvalGraph
from segline.tasks.predictor import GraphPredictor
from segline_runtime.errors import InputError
from segline_runtime.geometry import cores, windows
from segline_runtime.predict import predict
from segline_runtime.predictor import Predictor
from segline_runtime.semantic import SemanticPrediction
from segline_runtime.specification import ClassInfo, Geometry, ImageKind, Specification, Tile

CLASSES = tuple(ClassInfo(i, f"class {i}", (40 * i, 90, 10), i > 0) for i in range(3))
SIZE = (271, 373)
NETWORKS: list[dict[str, Any]] = [
    {},
    {"padding": "same", "norm": "batch"},
    {"upsample": "bilinear"},
    {"padding": "same", "upsample": "bilinear"},
    {"upsample": "nearest"},
    {"upsample": "bed_of_nails", "norm": "batch"},
]


def settings(**changes: Any) -> ModelSettings:
    return factories.settings("unet_2015", **{"width": 2, "input": {"fit": "native", "tile": {"size": [264, 300]}}} | changes)


def graph_of(model: ModelSettings, geometry: Geometry) -> EvalGraph:
    torch.manual_seed(0)
    network = catalog.build(model, channels=1, classes=len(CLASSES))
    for name, value in network.state_dict().items():
        if "running_var" in name:
            value.uniform_(0.5, 1.5)
    kind = ImageKind(channels=1)
    return tasks.learning("semantic").graph(network, Specification("semantic", "m", "d", CLASSES, geometry, (0.5,), (0.25,), kind))


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 1), dtype=np.uint8)


def assert_same(found: Any, expected: Any) -> None:
    assert isinstance(found, SemanticPrediction) and isinstance(expected, SemanticPrediction)
    assert found.probabilities is not None and expected.probabilities is not None
    assert np.ptp(expected.probabilities, axis=(1, 2)).min() > 0.02, "there is something to be compared"
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=2e-6)
    assert np.mean(found.class_ids != expected.class_ids) < 1e-4  # where two classes are as likely


@pytest.mark.parametrize("changes", NETWORKS, ids=str)
def test_by_tiles_an_image_is_predicted_as_in_one_pass(changes: dict[str, Any]) -> None:
    model = settings(**changes)
    tiled = graph_of(model, model.geometry(None))
    whole = graph_of(model, Geometry("native", None))
    assert len(windows(SIZE, tiled.specification.geometry.tile)) >= 4  # type: ignore[arg-type]
    assert_same(*(predict(graph.run, graph.specification, picture(*SIZE), probabilities=True) for graph in (tiled, whole)))


def test_mirrored_too_where_the_sides_are_multiples_of_the_stride() -> None:
    model = settings(input={"fit": "native", "tile": {"size": [272, 304]}}, predict={"flips": "both"})
    tiled, whole = (
        tasks.with_views("semantic", graph_of(model, geometry), model.predict.views) for geometry in (model.geometry(None), Geometry("native", None))
    )
    assert_same(*(predict(graph.run, graph.specification, picture(288, 368), probabilities=True) for graph in (tiled, whole)))


def test_tiles_that_are_blended_are_not_the_same() -> None:
    """The measure of the test above: with as much overlap, but blended, an image is not predicted as in one pass."""
    model = settings(input={"fit": "native", "tile": {"size": [264, 300], "overlap": 130}})
    tiled, whole = graph_of(model, model.geometry(None)), graph_of(model, Geometry("native", None))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same(*(predict(graph.run, graph.specification, picture(*SIZE), probabilities=True) for graph in (tiled, whole)))


@pytest.mark.parametrize("changes", NETWORKS, ids=str)
def test_the_context_is_as_far_as_the_network_sees(changes: dict[str, Any]) -> None:
    """What is no number spreads through every layer as far as a value can: in each of the sixteen places that a pixel can have among the poolings."""
    model = settings(**changes)
    network = catalog.build(model, channels=1, classes=2).eval()
    places = range(224, 240)
    images = torch.randn(len(places), 1, 16, 480)
    for image, place in zip(images, places, strict=True):
        image[..., place] = torch.nan
    with torch.no_grad():
        spread = torch.isnan(network(images)["logits"]).any(1).any(1)
    furthest = 0
    for of_place, place in zip(spread, places, strict=True):
        touched = of_place.nonzero().flatten()
        furthest = max(furthest, place - int(touched.min()), int(touched.max()) - place)
    assert furthest == model.reach


def test_the_exported_model_predicts_by_tiles_what_the_trained_one_says_in_one_pass(tmp_path: Path) -> None:
    model = settings()
    tiled = graph_of(model, model.geometry(None))
    write_onnx(tiled, tiled.specification, tmp_path / "m.onnx", 18, exporter=model.exporter)
    predictor = Predictor(tmp_path / "m.onnx")
    assert predictor.specification.geometry.tile == Tile((264, 300), 214, context=107, step=16)
    whole = graph_of(model, Geometry("native", None))
    image = picture(*SIZE)
    expected = predict(whole.run, whole.specification, image, probabilities=True)
    assert_same(predictor(image, probabilities=True), expected)
    [found] = GraphPredictor(tiled, tiled.specification)([image])
    without = predictor(image)
    assert isinstance(without, SemanticPrediction) and isinstance(found, SemanticPrediction)
    assert without.probabilities is None and found.probabilities is None
    assert np.mean(without.class_ids != found.class_ids) < 1e-4


@pytest.mark.slow
def test_parity_is_proved_by_tiles(tmp_path: Path) -> None:
    data = factories.shapes_dataset(tmp_path, train=1, val=1, test=1, size=(250, 330))
    plans = factories.plans("unet", settings(input={"fit": "native", "tile": {"size": [240, 240]}}), data)
    folder = ModelFolder(tmp_path / "unet")
    factories.untrained(folder, plans.train, data)
    export(plans.export, folder, data, progress=False)
    specification = Predictor(folder.onnx).specification
    assert len(windows((250, 330), specification.geometry.tile)) > 1  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(1, 1), (30, 40), (30, 41), (31, 40), (100, 137), (97, 400), (29, 400)])
@pytest.mark.parametrize("tile", [Tile((30, 40), 12, 6, 4), Tile((31, 33), 12, 6, 16), Tile((30, 40), 2, 1, 1)], ids=str)
def test_each_pixel_is_believed_of_one_window_that_sees_its_context(size: tuple[int, int], tile: Tile) -> None:
    found = windows(size, tile)
    seen = np.zeros(size, np.int64)
    for window, core in zip(found, cores(size, tile), strict=True):
        seen[core[0] : core[2], core[1] : core[3]] += 1
        for axis in (0, 1):
            start, stop = window[axis], window[axis + 2]
            assert 0 <= start < stop <= size[axis]
            assert stop - start <= tile.size[axis]
            assert start % tile.step == 0
            assert core[axis] - start >= tile.context or core[axis] == start == 0
            assert stop - core[axis + 2] >= tile.context or core[axis + 2] == stop == size[axis]
    assert (seen == 1).all()


class TestSettings:
    def test_the_original_unet_takes_it_by_default_and_others_blend(self) -> None:
        assert settings().geometry(None).tile == Tile((264, 300), 214, 107, 16)
        assert settings(upsample="bilinear").geometry(None).tile == Tile((264, 300), 244, 122, 16)
        assert settings(input={"fit": "native", "tile": {"size": [264, 300], "overlap": 30}}).geometry(None).tile == Tile((264, 300), 30)
        other = factories.settings("unet", input={"fit": "native", "tile": {"size": [264, 300]}})
        assert other.geometry(None).tile == Tile((264, 300), 64)

    @pytest.mark.parametrize(
        ("arch", "changes", "sentence"),
        [
            ("unet", {"input": {"fit": "native", "tile": {"size": [264, 300], "overlap": "exact"}}}, "may depend on all of the image; give the overlap in"),
            ("unet_2015", {"norm": "group", "input": {"fit": "native", "tile": {"size": [512, 512]}}}, "choose unet_2015 without group norm"),
            ("unet_2015", {"input": {"fit": "native", "tile": {"size": [230, 512]}}}, "107 pixels on each side .* give sides of more than 230"),
            ("unet_2015", {"input": {"fit": "native", "tile": {"size": [512, 512]}}, "predict": {"scales": [1.0, 1.5]}}, "remove predict.scales"),
            ("unet_2015", {"input": {"fit": "native", "tile": {"size": [512, 512], "overlap": "all"}}}, "exact"),
        ],
    )
    def test_where_it_cannot_be_there_is_a_sentence(self, arch: str, changes: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ValidationError, match=sentence):
            factories.settings(arch, **changes)

    def test_an_ensemble_takes_the_context_that_is_enough_for_all(self) -> None:
        ensemble = catalog.settings("ensemble").model_validate({"arch": "ensemble", "of": ["a", "b"]})
        members = {"a": settings(), "b": settings(upsample="bilinear")}
        assert not list(ensemble.misfits(members, members))  # type: ignore[attr-defined]
        found = ensemble.geometry([member.geometry(None) for member in members.values()])  # type: ignore[attr-defined]
        assert found.tile == Tile((264, 300), 244, 122, 16)
        members["b"] = settings(input={"fit": "native", "tile": {"size": [264, 300], "overlap": 30}})
        assert "that share what an exact overlap takes, and 'b' by tiles of 264×300 that share 30 pixels" in next(iter(ensemble.misfits(members, members)))  # type: ignore[attr-defined]


class TestOnDisk:
    def test_plans_carry_it_and_those_of_other_tiles_say_what_they_said(self, tmp_path: Path) -> None:
        data = factories.squares_dataset(tmp_path, [(64, 64), (64, 80)])
        exact = factories.plans("unet", settings(), data)
        file = tmp_path / "evaluate.json"
        written.write(exact.evaluate, file)
        assert written.read(written.EvaluatePlan, file) == exact.evaluate
        assert exact.evaluate.geometry.tile == Tile((264, 300), 214, 107, 16)
        blended = exact.train.to_json()["geometry"]  # validation blends tiles of the training's crops
        assert blended == {"fit": "native", "size": None, "tile": {"size": [264, 300], "overlap": 66}}

    def test_the_specification_refuses_tiles_of_nothing_but_context(self) -> None:
        specification = replace(graph_of(settings(), settings().geometry(None)).specification)
        assert Specification.from_json(specification.to_json()) == specification
        values = asdict(specification)
        values["geometry"]["tile"]["context"] = 200
        with pytest.raises(InputError, match="windows that hold nothing but context; export the model anew"):
            Specification.from_dict(values)
