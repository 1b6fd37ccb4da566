"""Parity rejects what is not the trained model, for both tasks, whatever the metric says of it: files of a wrong network, or of a right one wrongly shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import factories
import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from segline.data.store import Split
from segline.errors import ExportError
from segline.export import comparison
from segline.export.comparison import DRAWS, Comparison, Pair, above_limits, beyond_rounding, largest, shaken_weights
from segline.export.onnx import differ_in_zeroed_scalars_alone, write_onnx
from segline.export.parity import Unthresholded, prove
from segline.metrics import catalog as metrics
from segline.models import catalog
from segline.tasks import catalog as tasks
from segline.tasks.graph import AS_IT_IS, EvalGraph, Sides
from segline_runtime.predictions import InstancePrediction, Prediction
from segline_runtime.predictor import Predictor
from segline_runtime.specification import Geometry, Specification

SIDE = 64
ARCHITECTURES = ("unet", "maskrcnn")
NOTHING_IS_SO_SURE = 0.999


def graph_of(arch: str, seed: int = 0, threshold: float = 0.05) -> EvalGraph:
    """Of a small untrained network; images of `SIDE` × `SIDE` are shown to it as they are."""
    changes: dict[str, Any] = {"predict": {"score_threshold": threshold, "max_detections": 10}} if arch == "maskrcnn" else {}
    settings = factories.settings(arch, **changes)
    torch.manual_seed(seed)
    network = catalog.build(settings, channels=3, classes=len(factories.SQUARES))
    geometry = Geometry("stretch" if arch == "unet" else "shorter_side", (SIDE, SIDE))
    specification = Specification(settings.task, arch, "d", factories.SQUARES, geometry, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    return tasks.learning(settings.task).graph(network, specification)


def another_network(graph: EvalGraph) -> EvalGraph:
    return graph_of(graph.specification.model, seed=1)


def another_first_layer(graph: EvalGraph) -> EvalGraph:
    return _perturbed(graph, 0)


def another_last_layer(graph: EvalGraph) -> EvalGraph:
    return _perturbed(graph, -1)


def _perturbed(graph: EvalGraph, number: int) -> EvalGraph:
    """One layer's weights are off by five per cent. (Of an untrained network many a layer between the first and the last changes nothing.)"""
    other = graph_of(graph.specification.model)
    weight = [module.weight for module in other.network.modules() if isinstance(module, nn.Conv2d)][number]
    with torch.no_grad():
        weight.mul_(1 + 0.05 * torch.randn(weight.shape))
    return other


def half_a_pixel_off(graph: EvalGraph) -> EvalGraph:
    class Mutant(type(graph)):  # type: ignore[misc]
        def _fitted(self, images: Tensor, factor: Fraction = AS_IT_IS) -> tuple[Tensor, Sides]:
            fitted, content = super()._fitted(images, factor)
            left = functional.pad(fitted, (1, 0, 0, 0), mode="replicate")[..., :-1]
            return (fitted + left) / 2, content

    return Mutant(graph.network, graph.specification)


def swapped_channels(graph: EvalGraph) -> EvalGraph:
    class Mutant(type(graph)):  # type: ignore[misc]
        def forward(self, images: Tensor) -> Any:
            return super().forward(images.flip(-1))

    return Mutant(graph.network, graph.specification)


def wrong_at_other_sizes(graph: EvalGraph) -> EvalGraph:
    """Takes the image's size for the network's: for images of another size the outputs are of the wrong scale, for those of the network's right."""

    class Mutant(type(graph)):  # type: ignore[misc]
        def forward(self, images: Tensor) -> Any:
            inside = functional.interpolate(images.permute(0, 3, 1, 2).float(), size=(SIDE, SIDE), mode="nearest").permute(0, 2, 3, 1)
            first, *others = super().forward(inside)
            if graph.specification.task == "instance":
                return (first, *others)
            size = (images.shape[1], images.shape[2])
            logits = functional.interpolate(others[0], size=size, mode="nearest")
            return logits.argmax(1).to(torch.uint8), logits

    return Mutant(graph.network, graph.specification)


MUTANTS: Sequence[Callable[[EvalGraph], EvalGraph]] = (
    another_network,
    another_first_layer,
    another_last_layer,
    half_a_pixel_off,
    swapped_channels,
    wrong_at_other_sizes,
)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Split]:
    """By architecture: images of the network's size, one without objects."""
    dataset = factories.squares_dataset(tmp_path_factory.mktemp("squares"), [(SIDE, SIDE)] * 3)
    return {arch: dataset.split("test", tasks.get(graph_of(arch).specification.task).truths) for arch in ARCHITECTURES}


def proved(graph: EvalGraph, file: Path, split: Split, unthresholded: Unthresholded | None = None) -> dict[str, Any]:
    """With a tolerance that lets any metric pass."""
    task = tasks.get(graph.specification.task)
    words = [metrics.get(word) for word in task.metrics]
    return prove(graph, file, split, task, metrics=words, tolerance=1.0, latency_runs=1, opset=18, unthresholded=unthresholded, progress=False)


def written(graph: EvalGraph, file: Path) -> Path:
    write_onnx(graph, graph.specification, file, 18)
    return file


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_model_itself_is_proved(tmp_path: Path, splits: dict[str, Split], arch: str) -> None:
    graph = graph_of(arch)
    proof = proved(graph, written(graph, tmp_path / "model.onnx"), splits[arch])
    limits = tasks.get(graph.specification.task).limits
    assert {name: worst["limit"] for name, worst in proof["worst"].items() if worst["limit"] is not None} == limits
    assert proof["without_threshold"] is False
    for name, worst in proof["worst"].items():
        assert worst["value"] <= limits.get(name, np.inf) or worst["image"] in [one["input"] for one in proof["explained_by_rounding"]]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_is_another_model_fails_though_any_metric_would_do(
    tmp_path: Path, splits: dict[str, Split], arch: str, mutant: Callable[[EvalGraph], EvalGraph]
) -> None:
    graph = graph_of(arch)
    file = written(mutant(graph), tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="differ by more than rounding") as caught:
        proved(graph, file, splits[arch])
    where = "scaled by|transposed|dark" if mutant is wrong_at_other_sizes else "image|scaled by|transposed|dark"
    assert caught.match(f"pixels \\(({where})")


def test_a_detector_that_finds_nothing_is_proved_without_its_threshold(tmp_path: Path, splits: dict[str, Split]) -> None:
    split, graph = splits["maskrcnn"], graph_of("maskrcnn", threshold=NOTHING_IS_SO_SURE)
    file = written(graph, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="Nothing is proved: neither the trained nor the ONNX model finds anything on the 3 images of test"):
        proved(graph, file, split)
    bare = graph_of("maskrcnn", threshold=0.0)
    other = written(bare, tmp_path / "bare.onnx")
    proof = proved(graph, file, split, lambda: (bare, other))
    assert proof["without_threshold"] is True
    mutant = written(graph_of("maskrcnn", seed=1, threshold=NOTHING_IS_SO_SURE), tmp_path / "mutant.onnx")
    with pytest.raises(ExportError, match="finds nothing on the 3 images of test, and it is not the file that the trained model gives once more"):
        proved(graph, mutant, split, lambda: (bare, other))
    wrong = graph_of("maskrcnn", seed=1, threshold=0.0)
    with pytest.raises(ExportError, match="differ by more than rounding"):
        proved(graph, mutant, split, lambda: (bare, written(wrong, tmp_path / "wrong.onnx")))


def test_only_one_number_may_have_become_0(tmp_path: Path) -> None:
    def model(name: str, threshold: float, weights: Sequence[float] = (1.0, 2.0), kind: str = "Greater", factor: float = 3.0) -> Path:
        values = {"threshold": np.float32(threshold), "weights": np.array(weights, np.float32), "factor": np.float32(factor)}
        nodes = [
            helper.make_node("Mul", ["x", "weights"], ["y"]),
            helper.make_node("Mul", ["y", "factor"], ["s"]),
            helper.make_node(kind, ["s", "threshold"], ["z"]),
        ]
        inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])]
        outputs = [helper.make_tensor_value_info("z", onnx.TensorProto.BOOL, [2])]
        made = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()])
        onnx.save(helper.make_model(made), tmp_path / name)
        return tmp_path / name

    file = model("file", 0.5)
    assert differ_in_zeroed_scalars_alone(file, model("same", 0.5))
    assert differ_in_zeroed_scalars_alone(file, model("bare", 0.0))
    for other in (
        model("lower", 0.1),
        model("weights", 0.0, (1.0, 2.5)),
        model("two", 0.0, factor=0.0),
        model("operator", 0.0, kind="Less"),
        model("longer", 0.0, (1.0, 2.0, 3.0)),
    ):
        assert not differ_in_zeroed_scalars_alone(file, other), other.name


def test_rounding_explains_a_near_tie_and_no_more(tmp_path: Path) -> None:
    """Two classes that are all but equal everywhere: any change of the weights decides, and a file that decided otherwise is not another model."""
    graph = graph_of("unet")
    [head] = [module for name, module in graph.network.named_modules() if name.endswith("segmentation_head.0")]
    assert isinstance(head, nn.Conv2d) and head.bias is not None
    with torch.no_grad():
        head.weight[1] = head.weight[0]
        head.bias[2] = -9
        head.bias[1] = head.bias[0]
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    pairs = []
    for name, more in (("tie", 1e-6), ("other", 0.01)):
        with torch.no_grad():
            head.bias[1] += more
        predictor = Predictor(written(graph, tmp_path / f"{name}.onnx"), threads=1)
        with torch.no_grad():
            head.bias[1] -= more
        pair = Pair(graph, predictor, tasks.get("semantic"))
        pairs.append((pair, pair.compare(name, lambda: image, pair.predictions(image), (SIDE, SIDE))))
    (pair, tie), (other_pair, other) = pairs
    assert tie.figures["differing_pixels"] > 0.5
    assert set(above_limits(tie, pair.task)) == {"differing_pixels"}
    assert list(beyond_rounding([tie], pair)) == [{}]
    assert [set(beyond) for beyond in beyond_rounding([other], other_pair)] == [{"probability"}]


class OneNumber(nn.Module):
    """A detector whose one weight is its one score; it finds nothing below 0.05."""

    def __init__(self, score: float) -> None:
        super().__init__()
        self.score = nn.Parameter(torch.tensor(score))

    def found(self) -> InstancePrediction:
        return found([(2, self.score.item())] if self.score.item() > 0.05 else [])


def found(objects: Sequence[tuple[int, float]]) -> InstancePrediction:
    """Objects of 8 × 8 pixels in a row, by their place in it, with their scores."""
    masks = np.zeros((len(objects), 8, 80), np.bool_)
    for mask, (place, _) in zip(masks, objects, strict=True):
        mask[:, 8 * place : 8 * place + 8] = True
    boxes = np.array([[8 * place, 0, 8 * place + 8, 8] for place, _ in objects], np.float32).reshape(-1, 4)
    return InstancePrediction(np.array([score for _, score in objects], np.float32), np.ones(len(objects), np.int64), boxes, masks)


@pytest.mark.parametrize(
    ("objects", "beyond"),
    [
        ([], set()),  # the tie at the threshold fell the other way
        ([(2, 0.0500001), (5, 0.0500001)], set()),  # one more, as weak as the one that rounding takes away
        ([(5, 0.09)], {"nothing_matched", "unmatched", "unmatched_score"}),  # another object, elsewhere
        ([(2, 0.0500001), (5, 0.09), (7, 0.09), (8, 0.09)], {"unmatched"}),  # more of them than rounding takes away
    ],
)
def test_objects_of_one_model_alone_are_rounding_where_they_are_few_and_weak_and_others_are_found(objects: list[tuple[int, float]], beyond: set[str]) -> None:
    graph, task = OneNumber(0.0500001), tasks.get("instance")
    pair = Pair(graph, None, task)  # type: ignore[arg-type]  # the exported model has spoken
    figures = task.disagreement(graph.found(), found(objects))
    assert {name: figures[name] for name in ("box_px", "mask_iou_loss")} == {"box_px": 0.0, "mask_iou_loss": 0.0} and figures["score"] < 1e-6
    suspect = Comparison("a", (8, 80), figures, 2, lambda: [graph.found()])
    assert [set(figures) for figures in beyond_rounding([suspect], pair)] == [beyond]


def test_many_suspects_share_the_shaken_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, task = OneNumber(0.0500001), tasks.get("instance")
    passes, shaken = [], []

    def again(number: int) -> list[Prediction]:
        passes.append(number)
        return [graph.found()]

    def counted(graph: Any, seed: int) -> Any:
        shaken.append(seed)
        return shaken_weights(graph, seed)

    monkeypatch.setattr(comparison, "shaken_weights", counted)
    others = [found([])] * 5 + [found([(2, 0.0500001), (5, 0.09), (7, 0.09), (8, 0.09)])] + [found([])] * 3
    suspects = [Comparison(str(i), (8, 80), task.disagreement(graph.found(), other), 2, lambda i=i: again(i)) for i, other in enumerate(others)]  # type: ignore[misc]
    judged = list(beyond_rounding(suspects, Pair(graph, None, task)))  # type: ignore[arg-type]
    assert [i for i, beyond in enumerate(judged) if beyond] == [5]
    assert len(shaken) <= 2 * DRAWS
    assert passes.count(5) == 1 + DRAWS and len(passes) < 9 * (1 + DRAWS), "what is explained is not asked again"


def test_what_is_undefined_or_missing_is_above_every_limit() -> None:
    whole, undefined = {"differing_pixels": 0.0, "probability": 0.0}, {"differing_pixels": 0.0, "probability": float("nan")}
    for several in ([whole, undefined], [undefined, whole], [whole, {"differing_pixels": 0.0}], [{"differing_pixels": 0.0}, whole]):
        suspect = Comparison("a", (8, 8), largest(several), 1, list)
        assert set(above_limits(suspect, tasks.get("semantic"))) == {"probability"}
    assert set(above_limits(Comparison("a", (8, 8), {}, 1, list), tasks.get("semantic"))) == {"differing_pixels", "probability"}
    assert not above_limits(Comparison("a", (8, 8), largest([whole, whole]), 1, list), tasks.get("semantic"))


def test_a_file_whose_second_image_of_a_batch_is_undefined_fails(tmp_path: Path, splits: dict[str, Split]) -> None:
    class Mutant(type(graph_of("unet"))):  # type: ignore[misc]
        def forward(self, images: Tensor) -> Any:
            class_ids, logits = super().forward(images)
            number = torch.arange(images.shape[0])[:, None, None, None]
            return class_ids, torch.where(number > 0, torch.full_like(logits, float("nan")), logits)

    graph = graph_of("unet")
    file = written(Mutant(graph.network, graph.specification), tmp_path / "model.onnx")
    with pytest.raises(ExportError, match=r"\(batch of two\), trained and ONNX model differ by more than rounding: probability is nan"):
        proved(graph, file, splits["unet"])


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("Failed to allocate memory for requested buffer of size 9", "needs more memory than there is for an image of 5×7 pixels"),
        ("Got invalid dimensions", "cannot run on an image of 5×7 pixels .*Try another export.opset"),
        ("", r"cannot run on an image of 5×7 pixels \(Fail\)\. Try another export.opset"),
    ],
)
def test_a_file_that_fails_is_told_apart_from_a_machine_that_is_too_small(reason: str, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence), comparison._failing((5, 7)):
        raise comparison.state.Fail(reason)


def test_shaken_weights_come_back() -> None:
    graph = graph_of("unet")
    before = {name: weight.clone() for name, weight in graph.named_parameters()}
    for seed in range(2):
        with shaken_weights(graph, seed):
            shaken = {name: weight.clone() for name, weight in graph.named_parameters()}
        assert any(not torch.equal(weight, before[name]) for name, weight in shaken.items())
        assert all(torch.equal(weight, before[name]) for name, weight in graph.named_parameters())


def test_a_file_that_holds_for_one_size_alone_gets_a_sentence(tmp_path: Path, splits: dict[str, Split]) -> None:
    graph = graph_of("unet")
    file = written(graph, tmp_path / "model.onnx")
    model = onnx.load(file)
    for axis, length in ((1, SIDE), (2, SIDE)):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = length
    onnx.save(model, file)
    with pytest.raises(ExportError, match=r"The ONNX model cannot run on an image of 48×48 pixels"):
        proved(graph, file, splits["unet"])
