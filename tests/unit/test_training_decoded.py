"""Decoded images that are kept between epochs: the same samples, and nothing lost where they cannot be kept."""

from __future__ import annotations

import pickle
import resource
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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

EVERYTHING = 2**30
OF_AN_IMAGE = 32 * 48 * 4
"""Bytes: RGB and index mask; a multiple of 8."""
FLAGS = 7 * 8
"""Bytes before the first image."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return factories.shapes_dataset(tmp_path_factory.mktemp("shapes"), train=7, size=(32, 48))


@pytest.fixture(scope="module")
def split(prepared: Any) -> Split:
    found: Split = prepared.split("train", ["index", "instances"])
    return found


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Decoded]]:
    """Makes them of one file."""
    with ExitStack() as stack:

        def make(split: Split, most: int = EVERYTHING) -> Decoded:
            images = Decoded(split, tmp_path / "images", most)
            stack.callback(images.remove)
            return images

        yield make


def same(one: Sample, other: Sample) -> bool:
    assert one.instances is not None and other.instances is not None
    masks = np.array_equal(one.instances.masks, other.instances.masks) and np.array_equal(one.instances.labels, other.instances.labels)
    named = (one.image_id, one.name) == (other.image_id, other.name)
    return masks and named and np.array_equal(one.image, other.image) and np.array_equal(np.asarray(one.mask), np.asarray(other.mask))


def there(file: Path, number: int = 7) -> list[bool]:
    """Which images the file has whole."""
    flags = file.read_bytes()[: 8 * number]
    return [any(flags[8 * i : 8 * i + 8]) for i in range(number)]


@pytest.mark.parametrize("truth", ["index", "instances"])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # also on one core
def test_epochs_show_the_same_whether_or_not_images_are_kept(prepared: Any, tmp_path: Path, made: Any, truth: Truth, workers: int) -> None:
    plain = prepared.split("train", [truth])
    images = made(plain)
    task = "semantic" if truth == "index" else "instance"
    assert np.array_equal(images[3].image, plain[3].image), "before processes are forked, which must not read on from this one's handle"

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
        assert all(there(tmp_path / "images")), "the first epoch decodes, whichever process it is that does"


def test_what_is_kept_is_read_and_not_decoded(split: Split, tmp_path: Path, made: Any) -> None:
    images = made(split)
    assert all(same(images[i], split[i]) for i in range(7)) and all(there(tmp_path / "images"))
    before = split[0].image
    with (tmp_path / "images").open("r+b") as stream:  # two words change places, which the checksum does not tell
        stream.seek(FLAGS)
        first, second = stream.read(8), stream.read(8)
        stream.seek(FLAGS)
        stream.write(second + first)
    assert first != second
    assert images[0].image.tobytes() == second + first + before.tobytes()[16:]
    assert images[0].image.flags.writeable and images[0].mask.flags.writeable
    assert all(same(images[i], split[i]) for i in range(1, 7)) and same(images[-1], split[6])
    with pytest.raises(IndexError):
        images[7]


def test_pixels_that_a_disk_has_lost_are_decoded_again(split: Split, tmp_path: Path, made: Any) -> None:
    images = made(split)
    assert all(same(images[i], split[i]) for i in range(7))
    with (tmp_path / "images").open("r+b") as stream:
        stream.seek(FLAGS + OF_AN_IMAGE)
        stream.write(bytes(200))
    with (tmp_path / "images").open("r+b") as stream:
        stream.truncate(FLAGS + 6 * OF_AN_IMAGE + 9)
    assert all(same(images[i], split[i]) for i in range(7))
    assert all(same(images[i], split[i]) for i in range(7)) and (tmp_path / "images").stat().st_size == FLAGS + 7 * OF_AN_IMAGE


def test_what_has_no_place_is_decoded_each_time(split: Split, tmp_path: Path, made: Any) -> None:
    images = made(split, FLAGS + 3 * OF_AN_IMAGE + 7)
    assert images.places == 3
    for _ in range(2):
        assert all(same(images[i], split[i]) for i in range(7))
    assert (tmp_path / "images").stat().st_size == FLAGS + 3 * OF_AN_IMAGE and there(tmp_path / "images", 3) == [True] * 3


def test_a_later_start_takes_up_the_file(split: Split, tmp_path: Path, made: Any) -> None:
    """Of a training that was killed, with another number of places."""
    assert same(made(split, FLAGS + 5 * OF_AN_IMAGE)[2], split[2])
    images = made(split)
    assert there(tmp_path / "images", 3) == [False, False, True]
    assert all(same(images[i], split[i]) for i in range(7)) and all(there(tmp_path / "images"))


def test_a_copy_for_another_process_shares_the_file(split: Split, tmp_path: Path, made: Any) -> None:
    images = made(split)
    assert same(images[2], split[2])
    copy = pickle.loads(pickle.dumps(images))
    assert same(copy[4], split[4]) and there(tmp_path / "images") == [i in (2, 4) for i in range(7)]
    copy.remove()


def test_a_folder_that_is_gone_costs_nothing_but_time(split: Split, tmp_path: Path) -> None:
    images = Decoded(split, tmp_path / "gone" / "images", EVERYTHING)
    assert all(same(images[i], split[i]) for i in range(7))
    images.remove()
    assert not (tmp_path / "gone").exists()


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("whole", [2, 2.5])
def test_a_disk_that_is_full_costs_nothing_but_time(split: Split, tmp_path: Path, made: Any, whole: float) -> None:
    images = made(split)
    with no_file_beyond(FLAGS + int(whole * OF_AN_IMAGE)):
        assert all(same(images[i], split[i]) for i in range(7))
    assert there(tmp_path / "images", 2) == [True] * 2 and not any(there(tmp_path / "images")[2:])
    assert all(same(images[i], split[i]) for i in range(7)), "what is there is still read"
    assert not any(there(tmp_path / "images")[2:]), "and the disk is not tried again"


def test_the_file_is_there_while_it_is_needed(split: Split, tmp_path: Path) -> None:
    with kept(split, tmp_path, "auto") as images:
        assert isinstance(images, Decoded) and images.places == 7
        assert same(images[0], split[0])
        [file] = tmp_path.iterdir()
        assert file.name == f"decoded-{socket.gethostname()}" and file.stat().st_size == FLAGS + OF_AN_IMAGE
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("gigabytes", "places"), [(0, None), (FLAGS / 2**30, None), ((FLAGS + 4.5 * OF_AN_IMAGE) / 2**30, 4), (float("inf"), 7)])
def test_no_more_is_kept_than_was_asked_for(split: Split, tmp_path: Path, gigabytes: float, places: int | None) -> None:
    with kept(split, tmp_path, gigabytes) as images:
        assert images is split if places is None else isinstance(images, Decoded) and images.places == places
        assert same(images[6], split[6])
