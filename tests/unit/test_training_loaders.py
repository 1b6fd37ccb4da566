"""What an epoch shows: the hold-out, the order, the batches; a function of (seed, epoch, index) alone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import factories
import layouts
import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from segline.data.download import download
from segline.data.formats import catalog
from segline.data.prepare import prepare
from segline.data.store import PreparedDataset, Sample, Split
from segline.errors import ParametersError
from segline.tasks import catalog as tasks
from segline.training.augment import Augmentation
from segline.training.holdout import holdout
from segline.training.loaders import Views, _Shuffle, as_raised, training_loader, validation_loader
from segline.training.settings import Transform
from segline_runtime.specification import Geometry


@pytest.mark.parametrize("count", [2, 9, 80, 367])
def test_the_holdout_is_seeded_disjoint_and_of_the_asked_size(count: int) -> None:
    kept, held = holdout(count, 0.1, seed=1)
    assert sorted(kept + held) == list(range(count))
    assert abs(len(held) - max(1, count * 0.1)) <= 8
    assert holdout(count, 0.1, seed=1) == (kept, held)


def test_the_holdout_takes_images_in_a_row() -> None:
    _, held = holdout(400, 0.1, seed=0)
    jumps = sum(b - a > 1 for a, b in pairwise(held))
    assert jumps <= len(held) / 8


def steps(length: int, batch: int, world: int) -> list[list[int]]:
    """The images of each step, over all processes."""
    parts = []
    for rank in range(world):
        sampler = _Shuffle(length, batch_size=batch // world, seed=5, rank=rank, world=world)
        sampler.set_epoch(2)
        parts.append(list(sampler))
    assert len({len(part) for part in parts}) == 1
    assert {epoch for part in parts for epoch, _, _ in part} == {2}
    own = batch // world
    assert all([step for _, _, step in part] == [at // own for at in range(len(part))] for part in parts)
    return [sorted(i for part in parts for _, i, _ in part[at : at + own]) for at in range(0, len(parts[0]), own)]


@pytest.mark.parametrize("length", [8, 11, 12, 23])
@pytest.mark.parametrize("world", [2, 4])
def test_steps_hold_the_same_images_however_many_processes_share_them(length: int, world: int) -> None:
    assert steps(length, 4, world) == steps(length, 4, 1)
    assert len(steps(length, 4, world)) == length // 4


def test_a_single_incomplete_batch_is_filled_up_for_all_processes() -> None:
    assert steps(3, 8, 1) == [[0, 1, 2]]
    [only] = steps(3, 8, 2)
    assert len(only) == 4 and set(only) == {0, 1, 2}


def test_epochs_differ_and_repeat() -> None:
    sampler = _Shuffle(50, batch_size=5, seed=0, rank=0, world=1)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert [i for _, i, _ in sampler] != [i for _, i, _ in first]


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    folder: Path = tmp_path_factory.mktemp("shapes")
    return factories.shapes_dataset(folder, train=7, size=(32, 48)).split("train", ["index", "instances"])


def batches(split: Split, task: str = "semantic", **changes: Any) -> list[Any]:
    flips = [Transform.model_validate(one) for one in ({"HorizontalFlip": {"p": 0.5}}, {"RandomBrightnessContrast": {"p": 1.0}})]
    augmentation = Augmentation(flips, geometry=Geometry("stretch", (32, 32)), truth=tasks.get(task).truths[0])
    arguments: dict[str, Any] = {"batch_size": 3, "seed": 1, "first_epoch": 0, "rank": 0, "world": 1, "workers": 0, "pin": False} | changes
    return list(training_loader(split, learning=tasks.learning(task), augmentation=augmentation, **arguments))


def test_an_epoch_is_a_function_of_seed_and_epoch(split: Split) -> None:
    def shown(**changes: Any) -> bytes:
        return b"".join(batch.images.numpy().tobytes() for batch in batches(split, **changes))

    assert shown() == shown()
    assert len({shown(), shown(seed=2), shown(first_epoch=1)}) == 3


@pytest.mark.parametrize(("batch_size", "sizes"), [(3, [3, 3]), (7, [7]), (8, [7]), (2, [2, 2, 2])])
def test_an_incomplete_last_batch_is_dropped_unless_it_is_the_only_one(split: Split, batch_size: int, sizes: list[int]) -> None:
    assert [len(batch.images) for batch in batches(split, batch_size=batch_size)] == sizes


class TestSizesOfSteps:
    """The geometry is 32 × 32."""

    @staticmethod
    def sides(split: Split, **changes: Any) -> list[int]:
        return [batch.images.shape[2] for batch in batches(split, batch_size=2, **changes)]

    def test_one_is_drawn_for_all_images_of_a_step(self, split: Split) -> None:
        drawn = [side for epoch in range(6) for side in self.sides(split, views=Views((0.5, 2.0)), first_epoch=epoch)]
        assert min(drawn) >= 16 and max(drawn) <= 64 and len(set(drawn)) > 10
        assert self.sides(split) == [32, 32, 32]
        for batch in batches(split, "instance", batch_size=2, views=Views((0.5, 2.0))):
            assert len({image.shape for image in batch.images}) == 1
            assert all(target["masks"].shape[1:] == batch.images[0].shape[1:] for target in batch.targets)

    def test_it_is_a_function_of_seed_epoch_and_step_and_the_same_for_all_processes(self, split: Split) -> None:
        views = Views((0.5, 2.0))
        assert self.sides(split, views=views) == self.sides(split, views=views)
        assert len({tuple(self.sides(split, views=views, **changes)) for changes in ({}, {"seed": 2}, {"first_epoch": 1})}) == 3
        alone = self.sides(split, views=views)
        for rank in range(2):
            shared = [batch.images.shape[2] for batch in batches(split, batch_size=1, views=views, rank=rank, world=2)]
            assert shared == alone

    def test_a_factor_of_one_is_the_training_without(self, split: Split) -> None:
        for plain, drawn in zip(batches(split), batches(split, views=Views((1.0, 1.0))), strict=True):
            assert np.array_equal(plain.images, drawn.images) and np.array_equal(plain.masks, drawn.masks)

    def test_crops_follow_and_the_last_epochs_see_whole_images(self, split: Split) -> None:
        def sizes(epoch: int, scales: tuple[float, float] | None = None) -> set[tuple[int, ...]]:
            augmentation = Augmentation([], geometry=Geometry("native", None), truth="index", crop=(32, 32))
            loader = training_loader(
                split,
                learning=tasks.learning("semantic"),
                augmentation=augmentation,
                batch_size=3,
                seed=0,
                first_epoch=epoch,
                rank=0,
                world=1,
                workers=0,
                pin=False,
                views=Views(scales, uncropped_from=2.5),
            )
            return {tuple(batch.images.shape[2:]) for batch in loader}

        assert sizes(0) == sizes(2) == {(32, 32)}
        assert sizes(3) == sizes(9) == {(32, 48)}, "the size of the images"
        assert sizes(0, (1.5, 1.5)) == {(48, 48)}
        assert sizes(3, (1.5, 1.5)) == {(48, 72)}


def test_the_channels_of_a_pixel_stay_together(split: Split) -> None:
    for batch in batches(split):
        assert batch.images.shape == (3, 3, 32, 32) and batch.images.is_contiguous(memory_format=torch.channels_last)


def test_the_tasks_own_batches(split: Split) -> None:
    [first, *_] = batches(split, "instance")
    assert len(first.images) == len(first.targets) == 3
    assert all(target["masks"].shape[1:] == (32, 32) for target in first.targets)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_loader_process_complains_of_is_told_in_its_sentence(split: Split, workers: int) -> None:
    too_large = [Transform.model_validate({"RandomCrop": {"height": 40, "width": 40}})]
    augmentation = Augmentation(too_large, geometry=Geometry("native", None), truth="index")
    loader = training_loader(
        split, learning=tasks.learning("semantic"), augmentation=augmentation, batch_size=2, seed=0, first_epoch=0, rank=0, world=1, workers=workers, pin=False
    )
    with pytest.raises(ParametersError) as caught:
        next(iter(loader))
    [sentence] = as_raised(caught.value).problems
    assert sentence.startswith("augment: RandomCrop cannot transform the image '00000") and "32 x 48 pixels" in sentence


@pytest.mark.parametrize("world", [1, 2, 3, 9])
def test_validation_shows_each_image_once_and_untouched(split: Split, world: int) -> None:
    seen: list[Sample] = []
    for rank in range(world):
        batches_ = list(validation_loader(split, batch_size=2, rank=rank, world=world, workers=0))
        assert batches_, "a process without a batch would be left out, and the others wait for it"
        for batch in batches_:
            seen += batch
    assert sorted(sample.name for sample in seen) == [sample.name for sample in split]
    by_name = {sample.name: sample for sample in split}
    for sample in seen:
        assert np.array_equal(sample.image, by_name[sample.name].image)


def test_a_semantic_training_on_coco_decodes_no_object_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [coco] = (layout for layout in layouts.LAYOUTS if layout.word == "coco")
    coco.make(tmp_path / "own")
    section = catalog.get("coco").Settings(source=str(tmp_path / "own"))
    download(section, root=tmp_path / "own", seed=0, target=tmp_path / "raw")
    prepare(section, raw=tmp_path / "raw", root=tmp_path / "own", target=tmp_path / "prepared")
    dataset, decoded = PreparedDataset(tmp_path / "prepared"), 0
    original = rle.decode

    def counted(code: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return original(code)

    monkeypatch.setattr(rle, "decode", counted)
    semantic, instance = (tasks.get(word).truths for word in ("semantic", "instance"))
    seen = sum(len(batch.images) for batch in batches(dataset.split("train", semantic), batch_size=4))
    for samples in validation_loader(dataset.split("val", semantic), batch_size=2, rank=0, world=1, workers=0):
        seen += len(samples)
    assert (seen, decoded) == (dataset.info.counts["train"] + dataset.info.counts["val"], 0)
    assert batches(dataset.split("train", instance), "instance", batch_size=4) and decoded > 0, "one that learns objects does"
