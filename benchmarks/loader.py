"""Images per second and core that the loader gives a training, against a plain data set of PIL and albumentations that gives the same.

    python benchmarks/loader.py FOLDER [--core N]        (a folder in CamVid's layout; all in this process, on one core)

Both give batches of 4: images uint8 `(4, 3, h, w)` and class ids int64 `(4, h, w)`. The plain data set opens the files and transforms by albumentations'
Compose, as tutorials have it, and torch's DataLoader puts batches together. The line reads its prepared images as in the second epoch of a training, when they
have been decoded once (`segline.training.decoded`); the first epoch is told beside it.

    none       the images as they are; both read the same pixels and classes, or the script fails
    recipe     what `recipe: unet` says: RandomScale, HorizontalFlip, ColorJitter, then a crop of 352 × 480
    example    what examples/camvid.yaml says: 256 × 320, HorizontalFlip, Affine, ColorJitter

The ways take turns; told are milliseconds of the processor for an image, the median of the rounds, and their ratio. The result is `benchmarks/loader.json`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import albumentations as A
import clone
import cv2
import numpy as np
import results
import torch
from albumentations.pytorch import ToTensorV2
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segline.data.download import download
from segline.data.formats import catalog
from segline.data.prepare import prepare
from segline.data.store import PreparedDataset, Sample, Split
from segline.tasks import catalog as tasks
from segline.training.augment import Augmentation
from segline.training.decoded import Decoded
from segline.training.loaders import training_loader
from segline.training.settings import Transform
from segline_runtime.specification import Geometry

GOALS = {"none": 5.0, "recipe": 1.8, "example": 1.8}
BATCH, ROUNDS = 4, 5
CROP, SMALLER = (352, 480), (256, 320)

SCALE = {"scale_limit": [-0.5, 1.0], "p": 0.8}
FLIP = {"p": 0.5}
COLOUR = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.05, "p": 0.8}
MORE_COLOUR = {**COLOUR, "hue": 0.03}
AFFINE = {"scale": [0.8, 1.5], "translate_percent": [-0.1, 0.1], "rotate": [-5, 5], "fill_mask": 255, "p": 0.8}

PLAIN: dict[str, list[Any]] = {
    "none": [],
    "recipe": [
        A.RandomScale(**SCALE),
        A.HorizontalFlip(**FLIP),
        A.ColorJitter(**COLOUR),
        A.PadIfNeeded(*CROP, fill_mask=255, position="top_left"),
        A.RandomCrop(*CROP),
    ],
    "example": [A.Resize(*SMALLER), A.HorizontalFlip(**FLIP), A.Affine(**AFFINE), A.ColorJitter(**MORE_COLOUR)],
}

OURS: dict[str, tuple[Geometry, tuple[int, int] | None, list[dict[str, Any]]]] = {
    "none": (Geometry("native", None), None, []),
    "recipe": (Geometry("native", None), CROP, [{"RandomScale": SCALE}, {"HorizontalFlip": FLIP}, {"ColorJitter": COLOUR}]),
    "example": (Geometry("stretch", SMALLER), None, [{"HorizontalFlip": FLIP}, {"Affine": AFFINE}, {"ColorJitter": MORE_COLOUR}]),
}


class Plain(Dataset[tuple[Tensor, Tensor]]):
    """Files of images and masks, as a tutorial reads them."""

    def __init__(self, folder: Path, transforms: Sequence[Any]) -> None:
        self._images = sorted((folder / "train").iterdir())
        self._masks = [folder / "trainannot" / f"{image.stem}.png" for image in self._images]
        self._transform = A.Compose([*transforms, ToTensorV2()])

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = np.array(Image.open(self._images[index]).convert("RGB"))
        mask = np.array(Image.open(self._masks[index]))
        found = self._transform(image=image, mask=mask)
        return found["image"], found["mask"].long()


def ours(images: Sequence[Sample], case: str, epoch: int) -> DataLoader[Any]:
    geometry, crop, transforms = OURS[case]
    augmentation = Augmentation([Transform.model_validate(one) for one in transforms], geometry=geometry, truth="index", crop=crop)
    place = {"rank": 0, "world": 1, "workers": 0, "pin": False}
    return training_loader(images, learning=tasks.learning("semantic"), augmentation=augmentation, batch_size=BATCH, seed=0, first_epoch=epoch, **place)


def milliseconds(loader: Iterable[Any], images: int) -> float:
    """Of the processor, for an image of one epoch."""
    start, seen = time.process_time(), 0
    for pictures, _, *_ in loader:
        assert pictures.dtype == torch.uint8
        seen += len(pictures)
    assert seen > images - BATCH
    return 1000 * (time.process_time() - start) / seen


def _equal(folder: Path, split: Split, kept: Decoded) -> None:
    """Both give the same pictures where nothing is drawn by chance."""
    by_name = {Path(name).stem: i for i, name in enumerate(split.names())}
    plain = Plain(folder, PLAIN["none"])
    for i, file in enumerate(plain._images):
        image, mask = plain[i]
        sample = kept[by_name[file.stem]]
        assert sample.mask.shape == mask.shape and (image.numpy().transpose(1, 2, 0) == sample.image).all(), file
        # The line says 255 where the source says that a pixel is ignored.
        assert (mask.numpy() == sample.mask)[sample.mask != 255].all(), file


def measured(folder: Path, split: Split, scratch: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for case, transforms in PLAIN.items():
        rounds: dict[str, list[float]] = {"plain": [], "ours": [], "ours, first epoch": []}
        plain = DataLoader(Plain(folder, transforms), BATCH, shuffle=True, drop_last=True)
        for number in range(ROUNDS):
            kept = Decoded(split, scratch / "decoded", 2**40)
            rounds["ours, first epoch"].append(milliseconds(ours(kept, case, 0), len(split)))
            rounds["plain"].append(milliseconds(plain, len(split)))
            rounds["ours"].append(milliseconds(ours(_whole(kept, split), case, 1), len(split)))
            if case == "none" and number == 0:
                _equal(folder, split, kept)
            kept.remove()
        told = {name: round(statistics.median(values), 3) for name, values in rounds.items()}
        ratios = sorted(plain / own for plain, own in zip(rounds["plain"], rounds["ours"], strict=True))
        times = round(statistics.median(ratios), 2)
        found[case] = {
            "ms_per_image": told,
            "images_per_s": {name: round(1000 / value, 1) for name, value in told.items()},
            "times_as_fast": times,
            "rounds": [round(ratio, 2) for ratio in ratios],
            "goal": GOALS[case],
            "met": times >= GOALS[case],
        }
        print(case, found[case], flush=True)
    return found


def _whole(kept: Decoded, split: Split) -> Decoded:
    """With the images, too, that the first epoch's incomplete last batch left out."""
    for i in range(len(split)):
        kept[i]
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="train/, trainannot/, val/, valannot/")
    parser.add_argument("--core", type=int, default=0, help="that it runs on (default %(default)s)")
    given = parser.parse_args()
    clone.use_one_core(given.core)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    before = results.surroundings()
    with tempfile.TemporaryDirectory(prefix="segline-loader-") as temporary:
        scratch = Path(temporary)
        settings = catalog.get("camvid").Settings(source=str(given.folder), name="camvid")
        download(settings, root=given.folder, seed=0, target=scratch / "raw")
        prepare(settings, raw=scratch / "raw", root=given.folder, target=scratch / "prepared")
        split = PreparedDataset(scratch / "prepared").split("train", ["index"])
        cases = measured(given.folder, split, scratch)
    results.write(results.beside(__file__), {"images": len(split), "rounds": ROUNDS, "cases": cases}, before)


if __name__ == "__main__":
    main()
