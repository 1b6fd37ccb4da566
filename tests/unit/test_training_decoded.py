"""Decoded images that are kept between epochs: the same samples, and nothing lost where they cannot be kept."""

from __future__ import annotations

import pickle
import resource
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest

from segline.data.store import Sample, Split, Truth
from segline.tasks import catalog as tasks
from segline.training.augment import Augmentation
from segline.training.decoded import Decoded, kept
from segline.training.loaders import training_loader
from segline_runtime.specification import Geometry

Made = Callable[[Split, Path, int], Decoded]

EVERYTHING = 2**30
OF_AN_IMAGE = 32 * 48 * 4
"""Bytes: RGB and index mask."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return factories.shapes_dataset(tmp_path_factory.mktemp("shapes"), train=7, size=(32, 48))


@pytest.fixture(scope="module")
def split(prepared: Any) -> Split:
    found: Split = prepared.split("train", ["index", "instances"])
    return found


@pytest.fixture
def made() -> Iterator[Made]:
    with ExitStack() as stack:
        yield lambda split, file, most: stack.enter_context(closing(Decoded(split, file, most)))


def same(one: Sample, other: Sample) -> bool:
    assert one.instances is not None and other.instances is not None
    masks = np.array_equal(one.instances.masks, other.instances.masks) and np.array_equal(one.instances.labels, other.instances.labels)
    named = (one.image_id, one.name) == (other.image_id, other.name)
    return masks and named and np.array_equal(one.image, other.image) and np.array_equal(np.asarray(one.mask), np.asarray(other.mask))


def there(file: Path, number: int) -> list[bool]:
    """Which images the file has whole."""
    return [flag == 1 for flag in file.read_bytes()[:number]]


@pytest.mark.parametrize("truth", ["index", "instances"])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # also on one core
def test_epochs_show_the_same_whether_or_not_images_are_kept(prepared: Any, tmp_path: Path, made: Made, truth: Truth, workers: int) -> None:
    plain = prepared.split("train", [truth])
    images = made(plain, tmp_path / "images", EVERYTHING)
    task = "semantic" if truth == "index" else "instance"

    def shown(images: Sequence[Sample], epoch: int) -> list[Any]:
        loader = training_loader(
            images,
            learning=tasks.learning(task),
            augmentation=Augmentation([], geometry=Geometry("stretch", (32, 32)), truth=truth),
            batch_size=1,
            seed=3,
            first_epoch=epoch,
            rank=0,
            world=1,
            workers=workers,
            pin=False,
        )
        return [(np.stack(list(batch.images)), batch.masks.numpy() if truth == "index" else batch.targets[0]["masks"].numpy()) for batch in loader]

    for epoch in range(3):
        for (image, masks), (other, others) in zip(shown(plain, epoch), shown(images, epoch), strict=True):
            assert np.array_equal(image, other) and np.array_equal(masks, others)
        assert all(there(tmp_path / "images", 7)), "the first epoch decodes, whichever process it is that does"


def test_what_is_kept_is_read_and_not_decoded(split: Split, tmp_path: Path, made: Made) -> None:
    images = made(split, tmp_path / "images", EVERYTHING)
    before = [images[i] for i in range(7)]
    assert all(same(one, split[i]) for i, one in enumerate(before))
    with (tmp_path / "images").open("r+b") as stream:
        stream.seek(7)  # the first pixel
        stream.write(bytes([before[0].image[0, 0, 0] ^ 255]))
    assert images[0].image[0, 0, 0] == before[0].image[0, 0, 0] ^ 255
    assert all(same(images[i], split[i]) for i in range(1, 7))
    assert images[1].image.flags.writeable and images[1].mask.flags.writeable


def test_what_has_no_room_is_decoded_each_time(split: Split, tmp_path: Path, made: Made) -> None:
    images = made(split, tmp_path / "images", 7 + 3 * OF_AN_IMAGE)
    for _ in range(2):
        assert all(same(images[i], split[i]) for i in range(7))
    assert (tmp_path / "images").stat().st_size == 3 + 4 + 3 * OF_AN_IMAGE and there(tmp_path / "images", 3) == [True] * 3


def test_a_copy_in_another_process_shares_the_file(split: Split, tmp_path: Path, made: Made) -> None:
    images = made(split, tmp_path / "images", EVERYTHING)
    assert same(images[2], split[2])
    with closing(pickle.loads(pickle.dumps(images))) as copy:
        assert same(copy[4], split[4])
    assert there(tmp_path / "images", 7) == [i in (2, 4) for i in range(7)]


def test_a_file_that_somebody_removes_costs_nothing_but_time(split: Split, tmp_path: Path, made: Made) -> None:
    images = made(split, tmp_path / "images", EVERYTHING)
    (tmp_path / "images").unlink()
    assert all(same(images[i], split[i]) for i in range(7)) and not images.keeps


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("whole", [2, 2.5])
def test_a_disk_that_fills_up_costs_nothing_but_time(split: Split, tmp_path: Path, made: Made, whole: float) -> None:
    images = made(split, tmp_path / "images", EVERYTHING)
    with no_file_beyond(7 + int(whole * OF_AN_IMAGE)):
        assert all(same(images[i], split[i]) for i in range(7))
    assert there(tmp_path / "images", 7) == [True] * 2 + [False] * 5
    assert all(same(images[i], split[i]) for i in range(7))


def test_the_file_is_there_while_it_is_needed(split: Split, tmp_path: Path) -> None:
    (tmp_path / "decoded").mkdir()
    left = tmp_path / "decoded" / f".images.{socket.gethostname()}.{2**22 + 1}.part"  # of a process that no system has
    left.write_bytes(b"x")
    with kept(split, tmp_path / "decoded", "auto", processes=1) as images:
        assert isinstance(images, Decoded) and images.keeps == 7
        [file] = (tmp_path / "decoded").iterdir()
        assert file != left, "a killed training's is gone"
        assert same(images[0], split[0]) and file.stat().st_size > OF_AN_IMAGE
    assert not list((tmp_path / "decoded").iterdir())


def test_processes_of_a_machine_share_the_room(split: Split, tmp_path: Path) -> None:
    room = (7 + 4 * OF_AN_IMAGE) / 2**30
    with kept(split, tmp_path, room, processes=1) as images:
        assert isinstance(images, Decoded) and images.keeps == 4
    with kept(split, tmp_path, room, processes=2) as images:
        assert isinstance(images, Decoded) and images.keeps == 1


def test_zero_keeps_none(split: Split, tmp_path: Path) -> None:
    with kept(split, tmp_path, 0, processes=1) as images:
        assert images is split and not [file for file in tmp_path.iterdir() if file.stat().st_size]
