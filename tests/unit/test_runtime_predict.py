"""From an image to a prediction: one function for every runner, by windows where they are asked for; a task is one file and one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from segline_runtime import instance, tasks
from segline_runtime.errors import InputError
from segline_runtime.geometry import Window
from segline_runtime.predict import graph_input, predict
from segline_runtime.predictions import InstancePrediction, SemanticPrediction
from segline_runtime.specification import ClassInfo, Geometry, ImageKind, Specification, Tile
from segline_runtime.task import Prediction, RuntimeTask

CLASSES = tuple(ClassInfo(i, f"class {i}", (i, i, i), i > 0) for i in range(3))
TILED = Geometry("native", None, Tile((30, 40), 10))
IMAGE = np.random.default_rng(0).integers(0, 256, (70, 95, 3), dtype=np.uint8)


def specification(task: str, geometry: Geometry = TILED, image: ImageKind | None = None) -> Specification:
    image = image or ImageKind()
    return Specification(task, "m", "d", CLASSES, geometry, (0.0,) * image.channels, (1.0,) * image.channels, image)


class Linear:
    """A network that sees one pixel at a time; remembers what it was given."""

    def __init__(self, channels: int = 3) -> None:
        self.weights = np.random.default_rng(1).normal(0, 0.02, (channels, len(CLASSES)))
        self.seen: list[tuple[NDArray[Any], bool]] = []

    def run(self, images: NDArray[Any], probabilities: bool) -> Mapping[str, NDArray[Any]]:
        self.seen.append((images, probabilities))
        odds = np.exp(images.astype(np.float64) @ self.weights)
        shares = (odds / odds.sum(-1, keepdims=True)).transpose(0, 3, 1, 2).astype(np.float32)
        ids = shares.argmax(1).astype(np.uint8)
        return {"class_ids": ids, "probabilities": shares} if probabilities else {"class_ids": ids}


def test_windows_of_a_linear_network_give_what_one_pass_gives() -> None:
    by_windows, in_one = Linear(), Linear()
    joined = predict(by_windows.run, specification("semantic"), IMAGE, probabilities=True)
    whole = predict(in_one.run, specification("semantic", Geometry("stretch", (64, 64))), IMAGE, probabilities=True)
    assert isinstance(joined, SemanticPrediction)
    assert isinstance(whole, SemanticPrediction)
    assert len(in_one.seen) == 1
    assert {images.shape for images, _ in by_windows.seen} == {(1, 30, 40, 3)}
    assert len(by_windows.seen) == 9
    np.testing.assert_array_equal(joined.class_ids, whole.class_ids)
    assert joined.probabilities is not None
    assert whole.probabilities is not None
    np.testing.assert_allclose(joined.probabilities, whole.probabilities, atol=1e-6)


def test_probabilities_are_asked_for_where_they_are_needed_and_kept_where_they_are_wanted() -> None:
    for geometry, needed in [(TILED, True), (Geometry("native", None), False)]:
        network = Linear()
        found = predict(network.run, specification("semantic", geometry), IMAGE)
        assert isinstance(found, SemanticPrediction)
        assert found.probabilities is None
        assert {probabilities for _, probabilities in network.seen} == {needed}


def test_an_image_within_one_tile_is_predicted_in_one_pass() -> None:
    network = Linear()
    predict(network.run, specification("semantic"), IMAGE[:30, :25])
    assert [(images.shape, probabilities) for images, probabilities in network.seen] == [((1, 30, 25, 3), False)]


@pytest.mark.parametrize(("dtype", "given"), [("uint8", np.uint8), ("uint16", np.float32), ("float32", np.float32)])
@pytest.mark.parametrize("geometry", [TILED, Geometry("native", None)])
def test_the_graph_is_given_raw_values_in_its_type(dtype: Any, given: type, geometry: Geometry) -> None:
    kind = ImageKind(channels=5, dtype=dtype, scale=100.0)
    image = np.random.default_rng(0).integers(0, 200, (35, 45, 5)).astype(dtype)
    network = Linear(5)
    predict(network.run, specification("semantic", geometry, kind), image)
    for images, _ in network.seen:
        assert images.dtype == given
        assert images.flags.c_contiguous
    np.testing.assert_array_equal(network.seen[0][0][0], image[: network.seen[0][0].shape[1], : network.seen[0][0].shape[2]])
    assert graph_input(image[None].astype(given), kind).dtype == given


@pytest.mark.parametrize(
    ("image", "kind", "sentence"),
    [
        (IMAGE[:, :, 0], ImageKind(), r"must be uint8 of shape \(height, width, 3\), RGB; this is uint8 of shape \(70, 95\)"),
        (IMAGE[:, :, :2], ImageKind(), "RGB"),
        (IMAGE[:0], ImageKind(), "RGB"),
        (IMAGE.astype(np.float32), ImageKind(), "this is float32"),
        (IMAGE, ImageKind(dtype="uint16"), r"must be uint16"),
        (IMAGE, ImageKind(channels=1), r"\(height, width, 1\), grey"),
        (IMAGE, ImageKind(channels=6), r"\(height, width, 6\); this"),
    ],
)
def test_another_kind_of_array_gets_a_sentence(image: NDArray[Any], kind: ImageKind, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        predict(Linear().run, specification("semantic", image=kind), image)


def test_a_task_of_tomorrow_gets_a_sentence() -> None:
    with pytest.raises(InputError, match=r"task is 'depth'; known are semantic, instance, multilabel. Use a newer Segline"):
        predict(Linear().run, specification("depth"), IMAGE)


def test_every_task_is_listed_under_its_name() -> None:
    assert all(name == task.name for name, task in tasks.TASKS.items())


def test_objects_are_joined_over_windows() -> None:
    """Each grey value is one object; the network finds it by its value, with a mask of 28 × 28 for its box."""
    image = np.zeros((70, 95, 3), np.uint8)
    image[10:60, 20:80] = 1  # crosses nine windows
    image[0:8, 0:9] = 2

    def run(images: NDArray[Any], probabilities: bool) -> Mapping[str, NDArray[Any]]:  # noqa: ARG001
        values = [int(value) for value in np.unique(images) if value]
        boxes = np.zeros((len(values), 4), np.float32)
        for box, value in zip(boxes, values, strict=True):
            rows, columns = np.nonzero(images[0, :, :, 0] == value)
            box[:] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        scores = np.linspace(0.5, 0.9, len(values), dtype=np.float32)
        return {"boxes": boxes, "labels": np.array(values, np.int64), "scores": scores, "masks": np.ones((len(values), 28, 28), np.float32)}

    for geometry in (TILED, Geometry("native", None)):
        found = predict(run, specification("instance", geometry), image)
        assert isinstance(found, InstancePrediction)
        by_label = dict(zip(found.labels.tolist(), found.boxes.tolist(), strict=True))
        assert by_label == {1: [20, 10, 80, 60], 2: [0, 0, 9, 8]}
        big = found.masks[found.labels.tolist().index(1)]
        drawn = image[:, :, 0] == 1
        assert (big & drawn).sum() / (big | drawn).sum() > 0.94  # pasting rounds at the rim
        assert found.masks.shape == (2, 70, 95)


@dataclass(frozen=True)
class Brightness(Prediction):
    task: ClassVar[str] = "brightness"
    value: float


class BrightnessTask(RuntimeTask[Brightness]):
    name = "brightness"

    def decode(self, outputs: Mapping[str, NDArray[Any]], size: tuple[int, int]) -> list[Brightness]:  # noqa: ARG002
        return [Brightness(float(value)) for value in outputs["brightness"]]

    def join(
        self,
        windows: Sequence[Window],
        predictions: Iterable[Brightness],
        size: tuple[int, int],  # noqa: ARG002
        tile: Tile,  # noqa: ARG002
        *,
        probabilities: bool = False,  # noqa: ARG002
    ) -> Brightness:
        return Brightness(max(prediction.value for _, prediction in zip(windows, predictions, strict=True)))

    def answer(self, prediction: Brightness, specification: Specification) -> dict[str, Any]:  # noqa: ARG002
        return {"task": self.name, "brightness": prediction.value}


def test_a_task_from_outside_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS, "brightness", BrightnessTask())

    def run(images: NDArray[Any], probabilities: bool) -> Mapping[str, NDArray[Any]]:  # noqa: ARG001
        return {"brightness": images.max(axis=(1, 2, 3))}

    assert predict(run, specification("brightness"), IMAGE) == Brightness(255.0)


def test_objects_drawn_exactly_come_out_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that decodes whole masks, so that nothing but the joining is between what is drawn and what is found."""

    class Exact(instance.Instance):
        def decode(self, outputs: Mapping[str, NDArray[Any]], size: tuple[int, int]) -> list[InstancePrediction]:  # noqa: ARG002
            return [InstancePrediction(outputs["scores"], outputs["labels"], outputs["boxes"], outputs["masks"])]

    monkeypatch.setitem(tasks.TASKS, "instance", Exact())
    image = np.zeros((70, 95, 3), np.uint8)
    rows, columns = np.mgrid[:70, :95]
    for value, (y, x, radius) in enumerate([(20, 30, 15), (35, 60, 17), (60, 20, 20), (65, 90, 9), (8, 80, 12), (8, 60, 8)], start=1):
        image[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = value

    def run(images: NDArray[Any], probabilities: bool) -> Mapping[str, NDArray[Any]]:  # noqa: ARG001
        masks = np.stack([images[0, :, :, 0] == value for value in range(1, 7)])
        masks = masks[masks.any(axis=(1, 2))]
        boxes = np.array([[c.min(), r.min(), c.max() + 1, r.max() + 1] for r, c in map(np.nonzero, masks)], np.float32).reshape(-1, 4)
        return {"masks": masks, "boxes": boxes, "labels": np.ones(len(masks), np.int64), "scores": np.linspace(1, 0.5, len(masks), dtype=np.float32)}

    by_windows = predict(run, specification("instance"), image)
    in_one = predict(run, replace(specification("instance"), geometry=Geometry("native", None)), image)
    assert isinstance(by_windows, InstancePrediction)
    assert isinstance(in_one, InstancePrediction)
    assert {mask.tobytes() for mask in by_windows.masks} == {mask.tobytes() for mask in in_one.masks}
    assert sorted(by_windows.boxes.tolist()) == sorted(in_one.boxes.tolist())
