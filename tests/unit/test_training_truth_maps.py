"""Maps of the truth: their definitions, against SciPy; the folder of kept ones; how they follow the image; what asks for none pays for none."""

from __future__ import annotations

import math
import multiprocessing
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from segline.data.store import IGNORE, EncodedMasks, Instances, Sample
from segline.errors import ParametersError
from segline.losses.truth_maps import Closeness, SignedDistances
from segline.tasks import catalog as tasks
from segline.training import truth_maps
from segline.training.augment import Augmentation, cut
from segline.training.settings import Transform
from segline.training.truth_maps import TruthMaps, closeness, components, signed_distances
from segline_runtime.geometry import Window
from segline_runtime.specification import ClassInfo, Geometry

CLASSES = tuple(ClassInfo(i, f"class {i}", (0, 0, 0), i > 0) for i in range(3))


def blobs(size: tuple[int, int] = (60, 70), seed: int = 0) -> NDArray[np.uint8]:
    """Class ids in blobs that nearly touch, with a corner that is ignored."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(size), 3)
    ranks = noise.argsort(axis=None).argsort().reshape(size) / noise.size
    mask = np.where(ranks > 0.85, 2, np.where(ranks > 0.5, 1, 0)).astype(np.uint8)
    mask[:5, :5] = IGNORE
    return mask


def objects_of(mask: NDArray[np.uint8]) -> list[NDArray[np.bool_]]:
    """Connected pixels of each class above 0, by SciPy."""
    found = []
    for label in (1, 2):
        numbers, count = ndimage.label(mask == label)
        found += [numbers == i + 1 for i in range(count)]
    return found


def by_definition(objects: list[NDArray[np.bool_]], sigma: float) -> NDArray[np.float64]:
    distances = np.sort([ndimage.distance_transform_edt(~one) for one in objects], axis=0)
    return np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))


def instances_of(mask: NDArray[np.uint8], crowd: bool = False) -> Instances:
    stack = np.stack(objects_of(mask))
    flags = np.zeros(len(stack), np.bool_)
    flags[-1] = crowd
    return Instances(stack, np.zeros((len(stack), 4), np.float32), np.ones(len(stack), np.int64), flags)


def sample(mask: NDArray[np.uint8], instances: Instances | None = None) -> Sample:
    image = np.repeat(mask[..., None], 3, axis=2)
    return Sample(1, "name", image, mask, instances)


class TestCloseness:
    def test_a_gap_of_three_pixels_computed_by_hand(self) -> None:
        """Objects at 0 and 4 of a row, a third at 9: at 1…3 d1 + d2 is 4, on the objects 4, 4 and 5, at 5…8 it is 1 + 4, 2 + 3, 3 + 2, 4 + 1."""
        row = np.zeros((1, 10), np.uint8)
        row[0, [0, 4, 9]] = 1
        sums = [4, 4, 4, 4, 4, 5, 5, 5, 5, 5]
        expected = [[math.exp(-(total**2) / (2 * 5.0**2)) for total in sums]]
        np.testing.assert_allclose(closeness(components(row, [1]), (1, 10), 5.0), expected, rtol=1e-6)

    @pytest.mark.parametrize("sigma", [1.0, 5.0])
    @pytest.mark.parametrize("seed", [0, 1])
    def test_it_is_the_definition_with_scipys_distances(self, sigma: float, seed: int) -> None:
        mask = blobs(seed=seed)
        expected = by_definition(objects_of(mask), sigma)
        np.testing.assert_allclose(closeness(components(mask, [1, 2]), mask.shape, sigma), expected, atol=1e-6)

    @pytest.mark.parametrize("encoded", [False, True])
    def test_of_the_datas_own_objects_without_crowds(self, encoded: bool) -> None:
        mask = blobs()
        found = instances_of(mask, crowd=True)
        if encoded:
            rles = [one | {"counts": one["counts"].decode()} for one in found.rles()]  # as JSON has them
            found = Instances(EncodedMasks(rles, mask.shape), found.boxes, found.labels, found.crowd)
        made = TruthMaps([Closeness(5.0, "instances")], CLASSES).of_image(sample(mask, found))
        assert made is not None
        np.testing.assert_allclose(made[:, :, 0], by_definition(objects_of(mask)[:-1], 5.0), atol=1e-5)

    @pytest.mark.parametrize(
        "mask", [np.zeros((9, 9), np.uint8), np.full((9, 9), IGNORE, np.uint8), np.eye(1, 9, dtype=np.uint8)], ids=["none", "ignored", "one"]
    )
    def test_without_two_objects_nothing_is_close(self, mask: NDArray[np.uint8]) -> None:
        assert not closeness(components(mask, [1, 2]), mask.shape, 5.0).any()

    def test_objects_are_the_things_or_all_but_the_first_class(self) -> None:
        mask = np.array([[0, 2, 1, 0, 2, 0, 0, 0]], np.uint8)
        wanted = [Closeness(2.0, "components")]
        no_things = [ClassInfo(i, "", (0, 0, 0), False) for i in range(3)]
        only_two = [ClassInfo(i, "", (0, 0, 0), i == 2) for i in range(3)]
        all_three, two = (TruthMaps(wanted, classes).of_image(sample(mask)) for classes in (no_things, only_two))
        np.testing.assert_allclose(all_three[0, :, 0], closeness(components(mask, [1, 2]), mask.shape, 2.0)[0], atol=1e-5)
        np.testing.assert_allclose(two[0, :, 0], closeness(components(mask, [2]), mask.shape, 2.0)[0], atol=1e-5)


def test_signed_distances_are_scipys() -> None:
    mask = blobs()
    found = signed_distances(mask, 4)
    for label in range(3):
        inside = mask == label
        expected = ndimage.distance_transform_edt(~inside) * ~inside - (ndimage.distance_transform_edt(inside) - 1) * inside
        np.testing.assert_allclose(found[label], expected, rtol=1e-3)
    assert not found[3].any()


class TestKept:
    WANTED = Closeness(5.0, "components")

    def made(self, folder: Path | None, mask: NDArray[np.uint8], wanted: Closeness = WANTED) -> NDArray[np.float32]:
        found = TruthMaps([wanted], CLASSES, kept=folder).of_image(sample(mask))
        assert found is not None
        return found

    def test_what_was_kept_is_equal_and_is_not_made_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plain, first = self.made(None, blobs()), self.made(tmp_path, blobs())
        [file] = tmp_path.rglob("*.png")
        assert file.relative_to(tmp_path).parts[0] == "v1"
        monkeypatch.setattr(truth_maps, "closeness", None)
        second = self.made(tmp_path, blobs())
        assert np.array_equal(plain, first) and np.array_equal(first, second)

    def test_each_content_has_its_own(self, tmp_path: Path) -> None:
        self.made(tmp_path, blobs())
        self.made(tmp_path, blobs(seed=1))
        self.made(tmp_path, blobs(), Closeness(4.0, "components"))
        self.made(tmp_path, blobs((70, 60)))
        found = instances_of(blobs())
        TruthMaps([Closeness(5.0, "instances")], CLASSES, kept=tmp_path).of_image(sample(blobs(), found))
        TruthMaps([self.WANTED], CLASSES[:2], kept=tmp_path).of_image(sample(blobs()))
        assert len(list(tmp_path.rglob("*.png"))) == 6

    @pytest.mark.parametrize("damage", ["empty", "cut", "other", "size"])
    def test_a_damaged_file_is_made_again(self, tmp_path: Path, damage: str) -> None:
        expected = self.made(tmp_path, blobs())
        [file] = tmp_path.rglob("*.png")
        content = file.read_bytes()
        other = next(iter(self._of_other_size(tmp_path / "other")))
        file.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "other": b"no picture", "size": other}[damage])
        assert np.array_equal(self.made(tmp_path, blobs()), expected)
        assert file.read_bytes() == content

    def _of_other_size(self, folder: Path) -> list[bytes]:
        self.made(folder, blobs((20, 30)))
        return [file.read_bytes() for file in folder.rglob("*.png")]

    def test_a_folder_that_cannot_be_written_costs_time_alone(self, tmp_path: Path) -> None:
        place = tmp_path / "file"
        place.write_text("in the way")
        assert np.array_equal(self.made(place, blobs()), self.made(None, blobs()))

    def test_several_processes_keep_the_same(self, tmp_path: Path) -> None:
        with multiprocessing.get_context("fork").Pool(3) as pool:
            found = pool.starmap(_made_in_a_process, [(tmp_path, i % 2) for i in range(12)])
        assert len(set(found[0::2])) == len(set(found[1::2])) == 1
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert len(files) == 2 and all(file.suffix == ".png" for file in files), "nothing half-written is left"


def _made_in_a_process(folder: Path, seed: int) -> bytes:
    found = TruthMaps([Closeness(5.0, "components")], CLASSES, kept=folder).of_image(sample(blobs(seed=seed)))
    assert found is not None
    return found.tobytes()


def augmentation(transforms: list[Any], geometry: Geometry, wanted: list[Any], **more: Any) -> Augmentation:
    steps = [Transform.model_validate(one) for one in transforms]
    return Augmentation(steps, geometry=geometry, truth="index", maps=TruthMaps(wanted, CLASSES), **more)


NATIVE = Geometry("native", None)


class TestFollowing:
    """The map is what the mask is made of, so a transform of pixels alone moves both alike; one that interpolates agrees up to a pixel's width."""

    WANTED = Closeness(5.0, "components")

    def followed(self, transforms: list[Any], geometry: Geometry = NATIVE, **more: Any) -> tuple[Sample, NDArray[np.floating]]:
        found = augmentation(transforms, geometry, [self.WANTED], **more)(sample(blobs()), seed=3)
        assert found.maps is not None and found.mask is not None
        values = found.maps[self.WANTED.name]
        assert values.shape == found.mask.shape == found.image.shape[:2]
        return found, values

    def original(self) -> NDArray[np.float32]:
        made = TruthMaps([self.WANTED], CLASSES).of_image(sample(blobs()))
        assert made is not None
        return made[:, :, 0]

    def test_without_transforms_it_is_the_map(self) -> None:
        assert np.array_equal(self.followed([])[1], self.original())

    @pytest.mark.parametrize(("name", "moved"), [("HorizontalFlip", np.fliplr), ("VerticalFlip", np.flipud), ("Transpose", np.transpose)])
    def test_flips(self, name: str, moved: Any) -> None:
        assert np.array_equal(self.followed([{name: {"p": 1.0}}])[1], moved(self.original()))

    def test_colours_leave_it_alone(self) -> None:
        found, values = self.followed([{"RandomBrightnessContrast": {"p": 1.0}}, {"GaussNoise": {"p": 1.0}}])
        assert np.array_equal(values, self.original()) and not np.array_equal(found.image, sample(blobs()).image)

    def test_what_is_not_applied_leaves_it_alone(self) -> None:
        assert np.array_equal(self.followed([{"HorizontalFlip": {"p": 0.0}}, {"Affine": {"scale": [0.5, 0.6], "p": 0.0}}])[1], self.original())

    @pytest.mark.parametrize(
        "transform",
        [
            {"Affine": {"rotate": [20, 20], "scale": [1.3, 1.3], "p": 1.0}},
            {"ElasticTransform": {"alpha": 20, "sigma": 5, "p": 1.0}},
            {"RandomScale": {"scale_limit": [0.4, 0.4], "p": 1.0}},
            {"RandomResizedCrop": {"size": [50, 50], "p": 1.0}},
            {"Perspective": {"p": 1.0}},
            {"GridDistortion": {"p": 1.0}},
        ],
        ids=lambda transform: next(iter(transform)),
    )
    def test_it_goes_where_the_mask_goes(self, transform: dict[str, Any]) -> None:
        """A map that is 1 on the objects and 0 elsewhere, halfway in between where the mask changes: of the other pixels it says what the mask says."""
        maps = TruthMaps([self.WANTED], CLASSES)
        maps.of_image = lambda one: (np.isin(one.mask, (1, 2))[..., None]).astype(np.float32)  # type: ignore[method-assign]
        step = [Transform.model_validate(transform)]
        found = Augmentation(step, geometry=NATIVE, truth="index", maps=maps)(sample(blobs()), seed=3)
        assert found.maps is not None and found.mask is not None
        inside, values = np.isin(found.mask, (1, 2)), found.maps[self.WANTED.name]
        clear = ndimage.binary_erosion(inside, iterations=2) | ndimage.binary_erosion(~inside, iterations=2)
        clear &= ~ndimage.binary_dilation(found.mask == IGNORE, iterations=2)
        assert clear.mean() > 0.2
        np.testing.assert_allclose(values[clear], inside[clear].astype(float), atol=0.02)
        assert ((values > 0.01) & (values < 0.99)).any(), "it is interpolated, not the nearest pixel"

    def test_what_is_filled_in_is_close_to_nothing(self) -> None:
        found, values = self.followed([{"Affine": {"translate_px": [15, 15], "p": 1.0}}])
        assert found.mask is not None
        assert (found.mask == IGNORE).sum() > 100
        assert not values[:14].any() and not values[:, :14].any() and values[15:, 15:].any()

    def test_resizing_crop_and_padding(self) -> None:
        _, values = self.followed([], Geometry("stretch", (30, 35)))
        smaller = self.original().reshape(30, 2, 35, 2).mean(axis=(1, 3))
        assert np.abs(values - smaller).mean() < 0.02
        _, values = self.followed([], crop=(64, 50))
        assert values.shape == (64, 50)
        places = [left for left in range(21) if np.array_equal(values[:60], self.original()[:, left : left + 50])]
        assert len(places) == 1 and not values[60:].any()

    def test_distances_are_of_the_picture_as_it_is_then(self) -> None:
        distances = SignedDistances()
        found = augmentation([{"Affine": {"scale": [1.5, 1.5], "p": 1.0}}], Geometry("stretch", (48, 48)), [distances])(sample(blobs()), seed=1)
        assert found.maps is not None and found.mask is not None
        assert np.array_equal(found.maps[distances.name], signed_distances(found.mask, 3))

    def test_windows_cut_them_too(self) -> None:
        distances = SignedDistances()
        found = augmentation([], NATIVE, [self.WANTED, distances])(sample(blobs()), seed=1)
        window: Window = (10, 20, 40, 60)
        [part] = cut(found, [window])
        assert part.maps is not None and found.maps is not None
        assert np.array_equal(part.maps[self.WANTED.name], found.maps[self.WANTED.name][10:40, 20:60])
        assert np.array_equal(part.maps[distances.name], found.maps[distances.name][:, 10:40, 20:60])


class TestBatches:
    SEMANTIC = tasks.learning("semantic")

    def test_a_batch_pads_them(self) -> None:
        wanted = [Closeness(5.0, "components"), SignedDistances()]
        samples = [augmentation([], NATIVE, wanted)(sample(blobs(size)), seed=0) for size in ((20, 30), (25, 24))]
        batch: Any = self.SEMANTIC.collate(samples)
        close, far = (batch.maps[one.name] for one in wanted)
        assert close.shape == (2, 25, 30) and far.shape == (2, 3, 25, 30)
        assert not close[0, 20:].any() and not far[1, :, :, 24:].any()
        assert np.array_equal(far[0, :, :20].numpy(), samples[0].maps[wanted[1].name])  # type: ignore[index]
        moved: Any = self.SEMANTIC.to_device(batch, torch.device("cpu"))
        assert moved.maps.keys() == batch.maps.keys()

    def test_nobody_carries_what_nobody_asked_for(self) -> None:
        plain = Augmentation((), geometry=NATIVE, truth="index")
        found = plain(sample(blobs(), instances_of(blobs())), seed=0)
        batch: Any = self.SEMANTIC.collate([found])
        assert found.maps is None and batch.maps is None
        assert factories.settings("unet").wanted_maps == ()
        off = {"cross_entropy": {"border": {}, "weight": 0.0}, "dice": 1.0}
        assert factories.settings("unet", loss=off).wanted_maps == ()


def test_losses_that_want_the_same_map_share_it() -> None:
    both = factories.settings("unet", loss={"cross_entropy": {"border": {}}, "focal": {"border": {"w0": 3.0}}, "ohem": {"border": {"of": "instances"}}})
    assert both.wanted_maps == (Closeness(5.0, "components"), Closeness(5.0, "instances"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return factories.shapes_dataset(tmp_path_factory.mktemp("shapes"))


@pytest.mark.parametrize("of", ["instances", "components"])
def test_a_training_with_border_weights_and_boundary_loss(data: Any, tmp_path: Path, of: str) -> None:
    """unet_2015 with both: it trains and validates, keeps a map for each image, and its loss is another than without."""
    from segline.layout import ModelFolder
    from segline.training.settings import Runtime
    from segline.training.train import train

    told = []
    for loss in ({"cross_entropy": {"border": {"of": of}}, "boundary": 0.01}, {"cross_entropy": {"border": {"of": of, "w0": 0}}, "boundary": 1e-9}):
        settings = factories.settings(
            "unet_2015", loss=loss, train={"epochs": 1, "batch_size": 2, "precision": "fp32"}, augment=[{"HorizontalFlip": {"p": 0.5}}]
        )
        plan = factories.plans("unet", settings, data).train
        folder = ModelFolder(tmp_path / f"model{len(told)}")
        runtime = Runtime(accelerator="cpu", devices=1, workers=0)
        places = {"resume_root": tmp_path / "resume", "folder": folder, "maps": tmp_path / "maps"}
        train(plan, dataset=data, runtime=runtime, commit=None, weights=None, follow=lambda _folder: lambda: None, **places)
        header, row = (line.split(",") for line in folder.history.read_text().splitlines())
        told.append(dict(zip(header, map(float, row), strict=True)))
    assert told[0]["train_cross_entropy"] != told[1]["train_cross_entropy"] and told[0]["train_boundary"] == pytest.approx(told[1]["train_boundary"], rel=0.2)
    assert abs(told[0]["val_loss"] - told[1]["val_loss"]) > 1e-4
    assert len(list((tmp_path / "maps").rglob("*.png"))) == 4 + 2, "of training and validation images, made once"


def test_data_without_objects_is_told(data: Any) -> None:
    from dataclasses import replace
    from types import SimpleNamespace

    settings = factories.settings("unet", loss={"focal": {"border": {"of": "instances"}}})
    bare: Any = SimpleNamespace(folder=data.folder, info=replace(data.info, truths=("index",)))
    with pytest.raises(ParametersError, match=r"models\.cells\.loss\.focal\.border\.of is instances, .* has no object masks; set it to components"):
        factories.plans("cells", settings, bare)
