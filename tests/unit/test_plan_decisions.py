"""What `auto` becomes, from statistics of the data alone, and why; plans hold the result, and nothing of the words by which it was asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import pytest
import torch
from hostile import campaign_of

from segline import machine, params
from segline.data import extents
from segline.data.extents import Extents
from segline.data.store import ImageSizes, PreparedDataset
from segline.errors import ParametersError
from segline.models import catalog as architectures
from segline.models.maskrcnn.settings import Settings as MaskRcnn
from segline.models.semantic import SemanticNetwork
from segline.models.settings import Lessons
from segline.models.unet.settings import Settings as Unet
from segline.plain_yaml import load
from segline.plan.decisions import geometry
from segline.plan.decisions.anchors import anchors
from segline.plan.decisions.batch_size import batch_size, kept_bytes_per_pixel
from segline.plan.decisions.class_weights import class_weights
from segline.plan.decisions.epochs import epochs
from segline.plan.decisions.normalisation import unlike_photographs
from segline.plan.plans import TrainPlan
from segline.plan.resolve import ModelPlans, resolve
from segline_runtime.specification import Fit, Geometry

ALL: tuple[Fit, ...] = ("stretch", "letterbox", "native")
NAMES = ("ground", "road", "pole")


def counted(sizes: Sequence[tuple[int, int]], boxes: Sequence[tuple[float, float]] = (), widths: Sequence[float] = ()) -> Extents:
    """Images of these sizes (height, width), in the first of them the boxes (likewise), and classes with parts so wide."""
    found = Extents()
    for i, size in enumerate(sizes):
        found.merge(Extents.of(size, None, boxes if i == 0 else ()))
    for label, width in enumerate(widths):
        found.class_pixels[label], found.class_edges[label] = 100_000, round(200_000 / width)
    return found


FRAMES = [(360, 480)] * 20
MIXED = [(480, 640)] * 10 + [(640, 480)] * 10


class TestGeometry:
    @pytest.mark.parametrize(
        ("extents_", "median", "fits", "fit", "size", "said"),
        [
            (counted(FRAMES, widths=[40, 90, 5]), (360, 480), ALL, "stretch", (256, 320), "parts of the class pole 3.3 pixels wide"),
            (counted(FRAMES, widths=[40, 90, 4]), (360, 480), ALL, "stretch", (288, 384), "parts of the class pole 3.2 pixels wide"),
            (counted(FRAMES, widths=[40, 90, 2.3]), (360, 480), ALL, "stretch", (256, 320), "parts of the class ground 27 pixels wide"),
            (counted(FRAMES, [(20, 20)] * 5, [40, 90]), (360, 480), ALL, "stretch", (352, 480), "the smallest tenth of the objects 20 pixels or more"),
            (counted(FRAMES, [(80, 80)] * 5), (360, 480), ("shorter_side",), "shorter_side", (256, 320), "the objects 52 pixels or more"),
            (counted([(90, 120)] * 4), (90, 120), ALL, "stretch", (96, 128), "the median training image has 90×120 pixels, rounded"),
            (counted(MIXED), (560, 560), ALL, "letterbox", (320, 320), "a square, as some training images are upright and some lying"),
            (counted([(300, 400), (300, 500), (300, 600)] * 9), (300, 500), ALL, "letterbox", (192, 320), "shrunk to at most 320"),
            (counted([*FRAMES, *FRAMES, *FRAMES, (100, 480)]), (360, 480), ALL, "stretch", (256, 320), "shrunk"),
            (counted(MIXED), (560, 560), ("stretch", "native"), "stretch", (320, 320), "a square"),
            (counted([(2000, 3000)] * 4), (2000, 3000), ALL, "native", None, ""),
            (counted([(2000, 3000)] * 4, widths=[90, 90, 90]), (2000, 3000), ("stretch", "letterbox"), "stretch", (224, 320), "shrunk"),
        ],
    )
    def test_fit_and_size(self, extents_: Extents, median: tuple[int, int], fits: tuple[Fit, ...], fit: Fit, size: tuple[int, int] | None, said: str) -> None:
        seen = geometry.decided(extents_, median, NAMES, fits=fits, stride=32, size=None, tiled=False)
        assert (seen.fit, seen.size) == (fit, size), (seen.fit_reason, seen.size_reason)
        assert said in seen.size_reason and seen.fit_reason
        assert (seen.tile == ((512, 512), 64)) == (fit == "native")

    def test_what_is_given_stays(self) -> None:
        assert geometry.decided(counted(MIXED), (560, 560), NAMES, fits=ALL, stride=32, size=(96, 64), tiled=False).size == (96, 64)
        large = counted([(2000, 3000)] * 4)
        assert geometry.decided(large, (2000, 3000), NAMES, fits=ALL, stride=32, size=(96, 64), tiled=False).fit == "stretch"
        assert geometry.decided(large, (2000, 3000), NAMES, fits=ALL, stride=32, size=None, tiled=True).tile is None


@pytest.mark.parametrize(
    ("pixels", "chosen", "said"),
    [
        ((50, 50, 10), "none", "pole is 9 % of the pixels and ground 45 %: no class is rare"),
        ((950, 0, 40), "enet", "pole is 4 % of the pixels and ground 96 %, so classes are weighted"),
        ((999_000, 900, 5), "enet", "pole is 0.0005 % of"),
        ((10, 0, 0), "none", "show one class"),
        ((0, 0, 0), "none", "show one class"),
    ],
)
def test_class_weights(pixels: tuple[int, ...], chosen: str, said: str) -> None:
    word, reason = class_weights(pixels, NAMES)
    assert word == chosen and said in reason


class TestAnchors:
    @pytest.mark.parametrize(
        ("boxes", "fit", "size", "sizes", "ratios"),
        [
            ([(100, 100)] * 9, "stretch", (400, 400), [104, 132, 168, 212, 268], [1.0]),
            ([(100, 100)] * 9, "native", None, [104, 132, 168, 212, 268], [1.0]),
            ([(100, 100)] * 9, "stretch", (800, 400), [144, 180, 228, 288, 360], [2.0]),
            ([(100, 100)] * 9, "letterbox", (200, 400), [52, 68, 88, 112, 140], [1.0]),
            ([(60, 20)] * 9 + [(10, 20)] * 9, "shorter_side", (400, 400), [12, 16, 20, 36, 48], [0.5, 3.0]),
            ([(1, 1)] * 9, "shorter_side", (400, 400), [8, 12, 16, 20, 28], [1.0]),
        ],
    )
    def test_they_are_the_objects_as_the_network_sees_them(
        self, boxes: list[tuple[float, float]], fit: Fit, size: tuple[int, int] | None, sizes: list[int], ratios: list[float]
    ) -> None:
        found = anchors(counted([(400, 400)], boxes), (400, 400), fit=fit, size=size, levels=5)
        assert found is not None
        assert found[:2] == (sizes, ratios)
        assert f"quantiles of {len(boxes)} objects" in found[2]

    def test_turned_images_count_as_they_are_turned(self) -> None:
        upright = anchors(counted([(400, 200)], [(50, 50)] * 5), (400, 200), fit="shorter_side", size=(100, 200), levels=5)
        lying = anchors(counted([(200, 400)], [(50, 50)] * 5), (200, 400), fit="shorter_side", size=(100, 200), levels=5)
        assert upright is not None and upright == lying and upright[0][0] == 24

    def test_without_objects_there_are_none(self) -> None:
        assert anchors(counted(FRAMES), (360, 480), fit="stretch", size=(256, 320), levels=5) is None


@pytest.mark.parametrize(
    ("pixels", "images", "kept", "memory", "chosen", "said"),
    [
        (96 * 128, 400, 1300, 8, 8, "8 of inputs of 0.012 megapixels"),
        (256 * 320, 367, 1300, 8, 4, "4 of inputs of 0.082 megapixels; of 8 GiB of memory, an image takes about 0.1 in training, so they fit"),
        (96 * 128, 5, 1300, 8, 5, "there are 5 images to train on"),
        (512 * 512, 400, 24_000, 8, 1, "of 8 GiB of memory, an image takes about 5.9 in training, and 1 fits well"),
        (512 * 512, 400, 24_000, 24, 2, "and 2 fit well"),
        (512 * 512, 400, 24_000, 80, 4, "so they fit"),
        (512 * 512, 400, 24_000, 0.1, 1, "1 fits well"),
    ],
)
def test_batch_size(pixels: int, images: int, kept: float, memory: float, chosen: int, said: str) -> None:
    batch = batch_size(pixels, images, most=8, kept=kept, memory_gb=memory)
    assert batch.images == chosen and said in batch.reason


@pytest.mark.parametrize(
    ("lessons", "images", "objects", "classes", "pretrained", "chosen"),
    [
        (Unet.lessons, 400, 0, 5, False, 12),
        (Unet.lessons, 367, 0, 11, False, 20),
        (Unet.lessons, 367, 0, 11, True, 10),
        (Unet.lessons, 3, 0, 2, False, 150),
        (Unet.lessons, 118_000, 0, 81, False, 5),
        (MaskRcnn.lessons, 400, 1439, 5, False, 6),
        (MaskRcnn.lessons, 83, 208, 2, False, 50),
        (MaskRcnn.lessons, 83, 0, 2, False, 80),
        (Lessons(images=100, most_epochs=9), 1, 0, 2, False, 9),
    ],
)
def test_epochs(lessons: Lessons, images: int, objects: float, classes: int, pretrained: bool, chosen: int) -> None:
    found, reason = epochs(lessons, images=images, objects=objects, classes=classes, pretrained=pretrained)
    assert found == chosen and "are to be seen" in reason and ("pre-trained" in reason) == pretrained


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        ((0.41, 0.42, 0.43), (0.31, 0.31, 0.31), None),
        ((0.15, 0.15, 0.15), (0.1, 0.1, 0.1), None),
        ((0.02, 0.02, 0.02), (0.2, 0.2, 0.2), "red is 0.02 in the mean"),
        ((0.5, 0.5, 0.5), (0.2, 0.01, 0.2), "green differs by 0.01"),
        ((0.5, 0.5, 0.5), (1.0, 0.2, 0.2), "red differs by 1 "),
    ],
)
def test_what_is_unlike_photographs(mean: Sequence[float], std: Sequence[float], said: str | None) -> None:
    found = unlike_photographs(mean, std)
    assert found is None if said is None else found is not None and said in found


# in the plan --------------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factories.shapes_dataset(tmp_path_factory.mktemp("shapes"), train=12, size=(96, 128)).folder


@pytest.fixture
def dataset(folder: Path) -> PreparedDataset:
    return PreparedDataset(folder)


TRAIN = {"epochs": "auto", "batch_size": "auto"}
AUTOS: dict[str, dict[str, Any]] = {
    "unet": {"input": {"fit": "auto", "mean": "auto", "std": "auto"}, "loss": {"cross_entropy": {"class_weights": "auto"}, "dice": 1.0}, "train": TRAIN},
    "maskrcnn": {"input": {"fit": "auto"}, "anchors": "auto", "train": TRAIN},
    "resenc_unet": {"input": {"fit": "auto", "crop": "auto"}, "train": TRAIN},
}


def read(tmp_path: Path, entry: dict[str, Any]) -> params.Params:
    """Through params.yaml, as people write it."""
    file = tmp_path / "params.yaml"
    file.write_text(json.dumps({"data": {"source": "shapes"}, "models": {"m": entry}}))
    return params.read(file)


def plans(tmp_path: Path, dataset: PreparedDataset, entry: dict[str, Any], counts: Extents | None = None) -> ModelPlans:
    given = read(tmp_path, entry)
    counts = counts or extents.read(dataset.folder)
    return resolve("m", given.models["m"], params=given, info=dataset.info, code=factories.code(), roots=(), extents=counts)


def entry(arch: str, **more: Any) -> dict[str, Any]:
    small = {key: value for key, value in factories.SMALL[arch].items() if key != "input"}
    return {**small, **AUTOS[arch], **more}


def told(found: ModelPlans) -> dict[str, Any]:
    return {decision.key: decision.value for decision in found.decisions}


@pytest.mark.parametrize("arch", AUTOS)
def test_who_writes_the_numbers_has_the_same_training(tmp_path: Path, dataset: PreparedDataset, arch: str) -> None:
    found = plans(tmp_path, dataset, entry(arch))
    values = told(found)
    assert {"train.epochs", "train.batch_size", "input.fit", "input.size"} <= values.keys()
    size = {"fit": values["input.fit"], "size": values["input.size"]}
    written = entry(arch, train={"epochs": values["train.epochs"], "batch_size": values["train.batch_size"]}, input=size)
    written["input"] |= {"crop": values["input.crop"]} if "input.crop" in values else {}
    if arch == "maskrcnn":
        written["anchors"] = values["anchors"]
    if arch == "unet":
        written["loss"] = {"cross_entropy": {"class_weights": values["loss.cross_entropy.class_weights"]}, "dice": 1.0}
    by_hand = plans(tmp_path, dataset, written)
    assert found.train.to_json() == by_hand.train.to_json()
    assert (found.evaluate, found.export) == (by_hand.evaluate, by_hand.export)


@pytest.mark.parametrize("arch", AUTOS)
def test_a_plan_is_read_back(tmp_path: Path, dataset: PreparedDataset, arch: str) -> None:
    plan = plans(tmp_path, dataset, entry(arch)).train
    assert isinstance(plan, TrainPlan)
    again = TrainPlan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan and again.key == plan.key
    assert type(again.settings.train.epochs) is int and type(again.settings.train.batch_size) is int


@pytest.mark.parametrize("arch", AUTOS)
def test_the_scored_images_decide_nothing(tmp_path: Path, dataset: PreparedDataset, arch: str) -> None:
    before = plans(tmp_path, dataset, entry(arch))
    for split in ("test", "val"):
        info = dataset.info
        dataset.info = replace(
            info,
            split_hashes=info.split_hashes | {split: "other"},
            counts=info.counts | {split: 9_000},
            instance_counts=info.instance_counts | {split: 99_000},
        )
    after = plans(tmp_path, dataset, entry(arch))
    assert after.decisions == before.decisions
    assert after.train.settings == before.train.settings


@pytest.mark.parametrize("arch", AUTOS)
def test_one_more_image_decides_the_same(tmp_path: Path, dataset: PreparedDataset, arch: str) -> None:
    counts = extents.read(dataset.folder)
    assert counts is not None
    before = plans(tmp_path, dataset, entry(arch), counts)
    info = dataset.info
    dataset.info = replace(
        info,
        split_hashes=info.split_hashes | {"train": "other"},
        counts=info.counts | {"train": 13},
        instance_counts=info.instance_counts | {"train": info.instance_counts["train"] + 4},
        class_pixels=tuple(pixels + pixels // 12 for pixels in info.class_pixels),
    )
    counts.merge(Extents.of((96, 128), None, [(30, 32), (40, 41), (35, 20), (28, 44)]))
    after = plans(tmp_path, dataset, entry(arch), counts)
    assert after.train.settings == before.train.settings and after.train.key != before.train.key
    assert {key: value for key, value in told(after).items() if key != "input.mean, input.std"} == {
        key: value for key, value in told(before).items() if key != "input.mean, input.std"
    }


def test_what_a_recipe_says_as_a_share_is_of_what_was_decided(tmp_path: Path, dataset: PreparedDataset) -> None:
    given = {"arch": "unet", "encoder": "mobilenet_v2", "recipe": "unet", "train": {"epochs": "auto", "batch_size": "auto"}}
    found = plans(tmp_path, dataset, given)
    decided = found.train.settings.train
    assert decided.epochs == 150 and decided.warmup == 7.5 == told(found)["train.warmup"]
    assert next(one.reason for one in found.decisions if one.key == "train.warmup") == "the recipe unet: 0.05 of 150 epochs"
    rate = plans(tmp_path, dataset, {"arch": "resenc_unet", "recipe": "resenc", "train": {"batch_size": "auto"}})
    assert rate.train.settings.train.lr == pytest.approx(0.01 * 8 / 12, rel=1e-3) == told(rate)["train.lr"]
    kept = plans(tmp_path, dataset, given | {"train": {"epochs": "auto", "warmup": 2.0}})
    assert kept.train.settings.train.warmup == 2.0


def test_large_images_get_tiles(tmp_path: Path, dataset: PreparedDataset) -> None:
    dataset.info = replace(dataset.info, image_size=ImageSizes((2000, 3000), (2000, 3000), (2000, 3000)))
    for arch, overlap in (("unet", 64), ("unet_2015", 64)):
        small = {key: value for key, value in factories.SMALL[arch].items() if key != "input"}
        found = plans(tmp_path, dataset, small | {"input": {"fit": "auto"}, "train": {"batch_size": "auto"}}, counted([(2000, 3000)] * 12))
        assert found.evaluate.geometry.fit == "native" and found.evaluate.geometry.tile is not None
        assert (found.evaluate.geometry.tile.size, found.evaluate.geometry.tile.overlap) == ((512, 512), overlap)
        assert found.train.settings.input.training_crop == (512, 512) and "input.size" not in told(found)


def test_tiles_and_sizes_that_are_given(tmp_path: Path, dataset: PreparedDataset) -> None:
    tiled = plans(tmp_path, dataset, entry("unet", input={"fit": "auto", "tile": {"size": [64, 64], "overlap": 8}}))
    assert told(tiled)["input.fit"] == "native" and tiled.train.settings.input.training_crop == (64, 64)
    sized = plans(tmp_path, dataset, entry("unet", input={"fit": "auto", "size": [64, 96]}))
    assert sized.train.geometry == Geometry("stretch", (64, 96)) and "input.size" not in told(sized)  # type: ignore[union-attr]


def test_weights_of_photographs_and_other_images(tmp_path: Path, dataset: PreparedDataset) -> None:
    asked = {"weights": "imagenet", "input": {"size": [64, 64], "mean": "auto", "std": "auto"}}
    like = plans(tmp_path, dataset, entry("unet", **asked)).train
    assert isinstance(like, TrainPlan) and (like.mean, like.std) == (None, None)
    assert like == plans(tmp_path, dataset, entry("unet", weights="imagenet", input={"size": [64, 64]})).train, "nothing written means the weights' own"
    dataset.info = replace(dataset.info, mean=(0.02, 0.02, 0.02), std=(0.01, 0.01, 0.01))
    unlike = plans(tmp_path, dataset, entry("unet", **asked))
    assert isinstance(unlike.train, TrainPlan) and unlike.train.mean == (0.02, 0.02, 0.02)
    assert "photographs' 0.485" in next(one.reason for one in unlike.decisions if one.key == "input.mean, input.std")
    silent = plans(tmp_path, dataset, entry("unet", weights="imagenet", input={"size": [64, 64]})).train
    assert isinstance(silent, TrainPlan) and silent.mean is None


def test_memory_of_this_machine_and_a_number(tmp_path: Path, dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    heavy = {"arch": "tiramisu67", "input": {"size": [512, 512]}}
    monkeypatch.setattr(machine, "memory_gb", lambda: 24.0)
    small = plans(tmp_path, dataset, heavy | {"train": {"batch_size": "auto", "memory_gb": 4}})
    own = plans(tmp_path, dataset, heavy | {"train": {"batch_size": "auto", "memory_gb": "auto"}})
    assert (small.train.settings.train.batch_size, own.train.settings.train.batch_size) == (1, 2)
    given = plans(tmp_path, dataset, heavy | {"train": {"batch_size": 2, "memory_gb": 1}})
    assert given.train.to_json() == own.train.to_json(), "nothing else depends on it"


def test_this_machines_memory() -> None:
    assert 0 < machine.memory_gb() < 100_000


@pytest.mark.parametrize("key", ["input.fit", "anchors"])
def test_data_of_an_earlier_segline_is_to_be_prepared_anew(tmp_path: Path, dataset: PreparedDataset, key: str) -> None:
    asked = {"input": {"fit": "auto"}} if key == "input.fit" else {"anchors": "auto", "input": {"size": [64, 64]}}
    given = read(tmp_path, {"arch": "maskrcnn", **asked})
    with pytest.raises(ParametersError, match=rf"models\.m\.{key} is auto, and the data was prepared by an earlier Segline.*`dvc repro -f prepare`"):
        resolve("m", given.models["m"], params=given, info=dataset.info, code=factories.code(), roots=(), extents=None)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ({"train": {"epochs": "Auto"}}, "models.m.train.epochs is 'Auto'; it must be 1 or more passes over the training images, or auto"),
        ({"train": {"epochs": 0}}, "models.m.train.epochs is 0; it must be 1 or more"),
        ({"train": {"batch_size": [8]}}, "models.m.train.batch_size is [8]; it must be 1 or more images per step"),
        ({"train": {"memory_gb": "much"}}, "models.m.train.memory_gb is 'much'"),
        ({"train": {"lr": "auto"}}, "models.m.train.lr is 'auto'"),
        ({"input": {"fit": "atuo"}}, "Did you mean 'auto'?"),
        ({"input": {"mean": "auto"}}, "mean and std belong together"),
        ({"input": {"mean": "auto", "std": [1.0]}}, "mean and std belong together; write auto for both"),
        ({"loss": {"dice": {"class_weights": "atuo"}}}, "models.m.loss.dice.class_weights"),
        ({"arch": "maskrcnn", "anchors": "autos"}, "models.m.anchors"),
        ({"arch": "maskrcnn", "anchors": {"sizes": "auto"}}, "models.m.anchors.sizes"),
    ],
)
def test_mistakes_get_their_sentence(tmp_path: Path, model: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParametersError) as caught:
        read(tmp_path, {"arch": "unet", **model})
    assert sentence in str(caught.value)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("file", ["params.yaml", "examples/camvid.yaml", "examples/isbi2012.yaml", "examples/pennfudan.yaml"])
def test_the_benchmark_leaves_every_shipped_file_to_the_data(tmp_path: Path, dataset: PreparedDataset, file: str) -> None:
    values = campaign_of("settings_from_data").automatic(load(factories.ROOT / file))
    (tmp_path / "params.yaml").write_text(json.dumps(values))
    given = params.read(tmp_path / "params.yaml")
    for name, settings in given.models.items():
        counts = extents.read(dataset.folder)
        found = resolve(name, settings, params=given, info=dataset.info, code=factories.code(), roots=(), extents=counts)
        tiled = settings.arch == "unet_2015"
        assert {"train.epochs", "train.batch_size"} <= told(found).keys() and ("input.fit" in told(found)) != tiled
        assert ("anchors" in told(found)) == (settings.arch == "maskrcnn")


# what a training keeps ----------------------------------------------------------------------------------------------------------------------------------

QUICK = [("unet", {}), ("unet", {"encoder": "resnet50"}), ("deeplabv3plus", {}), ("segformer", {}), ("maskrcnn", {})]
OTHERS = [(word, {}) for word in architectures.ARCHITECTURES if word not in {"unet", "deeplabv3plus", "segformer", "maskrcnn"}]


@pytest.mark.parametrize(("arch", "keys"), [*QUICK, *(pytest.param(*one, marks=pytest.mark.slow) for one in OTHERS)])
def test_what_architectures_say_they_keep_is_what_they_keep(arch: str, keys: dict[str, Any]) -> None:
    settings = architectures.settings(arch).model_validate({"arch": arch, **keys})
    assert isinstance(settings, Unet | MaskRcnn) or settings.task == "semantic"
    measured = kept(settings, images=2, side=256)
    assert 0.6 < kept_bytes_per_pixel(settings) / measured < 1.6, f"{measured:.0f} bytes per pixel"  # type: ignore[arg-type]


def kept(settings: Any, *, images: int, side: int) -> float:
    """Bytes that the network, or a detector's encoder, saves for the backward pass for each pixel; on torch's device without memory."""
    try:
        with torch.device("meta"):
            network = architectures.build(settings, channels=3, classes=8)
    except (RuntimeError, NotImplementedError):
        network = architectures.build(settings, channels=3, classes=8).to("meta")
    part = network if isinstance(network, SemanticNetwork) else network.encoder
    assert isinstance(part, torch.nn.Module)
    weights = {one.untyped_storage()._cdata for one in part.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        saved[value.untyped_storage()._cdata] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        part.train()(torch.zeros((images, 3, side, side), device="meta"))
    total = sum(value.untyped_storage().nbytes() for key, value in saved.items() if key not in weights)
    return total / (images * side * side)
