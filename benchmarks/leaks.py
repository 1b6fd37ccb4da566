"""How well near-duplicates are found, on pairs whose answer is known, and what it costs.

    python benchmarks/leaks.py FOLDER        (of real data sets: camvid/, PennFudanPed/, coco_tiny/)

changed   photographs of four data sets against themselves, changed as people change pictures: the share that is found again by each change, and the share of
          all found pairs that is right. Beside it what a perceptual hash alone finds, at the distance at which it makes as few mistakes.
frames    CamVid's frames, one a second: the share of neighbours that is found, and the share of found pairs that is of one drive.
split     CamVid's official split: how many of the scored frames have a neighbour among those that are learnt from.
cost      seconds for each image, and of the search for more and more images, made of corners of real ones, up to COCO's number, with the share of planted pairs
          that is found. Memory is told without the pages of files that are mapped. The result is `benchmarks/leaks.json`.
"""

from __future__ import annotations

import argparse
import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import results
from numpy.typing import NDArray
from PIL import Image

from segline.data.leaks.fingerprint import CORNERS, Corners, Fingerprint, fingerprint
from segline.data.leaks.gathered import Gathered
from segline.data.leaks.search import Pair, alike, together

Pixels = NDArray[np.uint8]
Random = np.random.Generator

SEED = 0
COCO = 118_287
COST = (2_000, 16_000, COCO)
PLANTED_EVERY, PLANTED_BEHIND = 50, 20
LIMITS = {"seconds": 300, "own_memory_mb": 1024}
"""Of the search among as many images as COCO has."""


def jpeg(image: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def crop(image: Pixels, share: float, random: Random) -> Pixels:
    """A part of so much of the area, anywhere."""
    height, width = (int(side * share**0.5) for side in image.shape[:2])
    top, left = (int(random.integers(0, whole - part + 1)) for whole, part in zip(image.shape[:2], (height, width), strict=True))
    return image[top : top + height, left : left + width]


def levels(image: Pixels, gain: float, offset: float) -> Pixels:
    return np.clip(image.astype(np.float32) * gain + offset, 0, 255).astype(np.uint8)


def turned(image: Pixels, degrees: float) -> Pixels:
    height, width = image.shape[:2]
    moved: Pixels = cv2.warpAffine(image, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1), (width, height))
    return moved


def noisy(image: Pixels, random: Random) -> Pixels:
    return np.clip(image + random.normal(0, 12, image.shape), 0, 255).astype(np.uint8)


SAME_PLACE = frozenset({"PennPed00087.png", "PennPed00091.png"})
"""Two photographs of one place, as looking at them shows; their names do not say so."""

CHANGES: dict[str, Callable[[Pixels, Random], Pixels]] = {
    "jpeg, quality 30": lambda image, _: jpeg(image, 30),
    "jpeg, quality 10": lambda image, _: jpeg(image, 10),
    "half the size": lambda image, _: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "squeezed to three quarters": lambda image, _: cv2.resize(image, (image.shape[1], image.shape[0] * 3 // 4), interpolation=cv2.INTER_AREA),
    "brighter by 50": lambda image, _: levels(image, 1, 50),
    "half as bright": lambda image, _: levels(image, 0.5, 0),
    "contrast 1.5": lambda image, _: levels(image, 1.5, -60),
    "grey": lambda image, _: np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8),
    "noise of 12 levels": noisy,
    "mirrored": lambda image, _: image[:, ::-1].copy(),
    "upside down": lambda image, _: image[::-1].copy(),
    "turned by 90°": lambda image, _: np.rot90(image).copy(),
    "turned by 5°": lambda image, _: turned(image, 5),
    "black border": lambda image, _: cv2.copyMakeBorder(image, 30, 30, 30, 30, cv2.BORDER_CONSTANT),
    "crop of 90 %": lambda image, random: crop(image, 0.9, random),
    "crop of 75 %": lambda image, random: crop(image, 0.75, random),
    "crop of 50 %": lambda image, random: crop(image, 0.5, random),
    "crop of 25 %": lambda image, random: crop(image, 0.25, random),
    "mirrored crop of 75 %": lambda image, random: crop(image, 0.75, random)[:, ::-1].copy(),
    "crop of 75 %, jpeg 30, brighter": lambda image, random: levels(jpeg(crop(image, 0.75, random), 30), 1, 40),
}


def read(file: Path) -> Pixels:
    return np.asarray(Image.open(file).convert("RGB"))


def drive(file: Path) -> str:
    """What an image shares with others by right: CamVid's drive, a place, else nothing."""
    if file.name in SAME_PLACE:
        return min(SAME_PLACE)
    return file.name.split("_")[0] if "camvid" in file.parts else file.name


def frames(data: Path) -> list[Path]:
    return sorted([*(data / "camvid" / "train").glob("*.jpg"), *(data / "camvid" / "val").glob("*.jpg")], key=lambda file: file.name)


def photographs(data: Path) -> list[Path]:
    """Some of each set; of CamVid frames so far apart that they are not each other's neighbours."""
    return [
        *frames(data)[::24],
        *sorted(data.glob("coco_tiny/*2017/*.jpg"))[::2],
        *sorted(data.glob("PennFudanPed/PNGImages/*.png"))[::2],
        *sorted(data.glob("isbi2012/images/*.png"))[::4],
    ]


def changed(files: list[Path]) -> dict[str, Any]:
    random = np.random.default_rng(SEED)
    originals = [read(file) for file in files]
    prints = [fingerprint(image) for image in originals]
    whose, change = list(range(len(files))), [""] * len(files)
    for number, (name, make) in enumerate(CHANGES.items()):
        for i in range(number % 3, len(files), 3):
            prints.append(fingerprint(np.ascontiguousarray(make(originals[i], random))))
            whose.append(i)
            change.append(name)
    sides = ["as it is" if not name else "changed" for name in change]
    pairs = [(pair.first, pair.second) for pair in searched(prints, sides)]
    right = [(one, other) for one, other in pairs if drive(files[whose[one]]) == drive(files[whose[other]])]
    again = {other for one, other in pairs if whose[one] == whose[other]}
    by_change = {name: round(float(np.mean([i in again for i, its in enumerate(change) if its == name])), 3) for name in CHANGES}
    made = [i for i, name in enumerate(change) if name]
    wrong = sorted(f"{files[whose[one]].name} and {files[whose[other]].name}, {change[other]}" for one, other in set(pairs) - set(right))
    return {
        "photographs": len(files),
        "changed": len(made),
        "found": by_change,
        "recall": round(float(np.mean([i in again for i in made])), 4),
        "precision": round(len(right) / len(pairs), 4),
        "pairs": len(pairs),
        "wrong": wrong[:10],
        "hash_alone": _hash_alone(prints, whose, change, files),
    }


def _hash_alone(prints: list[Fingerprint], whose: list[int], change: list[str], files: list[Path]) -> dict[str, Any]:
    """The best that a distance of hashes can do whose pairs are 99 % right, mirrored and turned ones among them."""
    made = [i for i, name in enumerate(change) if name]
    upright = np.array([one.hashes[0] for one in prints[: len(files)]])
    distance = np.stack([np.bitwise_count(upright[:, None] ^ prints[i].hashes[None]).min(axis=1) for i in made], axis=1)
    own = np.array([[drive(file) == drive(files[whose[i]]) for i in made] for file in files])
    same = np.array([[number == whose[i] for i in made] for number in range(len(files))])
    best: dict[str, Any] = {"distance": 0, "recall": 0.0, "precision": 1.0}
    for most in range(0, 24, 2):
        near = distance <= most
        precision = float(own[near].mean()) if near.any() else 1.0
        if precision >= 0.99:
            best = {"distance": most, "recall": round(float((near & same).any(axis=0).mean()), 4), "precision": round(precision, 4)}
    return best


def neighbours(data: Path) -> tuple[dict[str, Any], list[Fingerprint]]:
    files = frames(data)
    prints = [fingerprint(read(file)) for file in files]
    pairs = {(pair.first, pair.second) for pair in searched(prints)}
    found: dict[str, Any] = {"frames": len(files), "pairs": len(pairs)}
    found["precision"] = round(float(np.mean([drive(files[one]) == drive(files[other]) for one, other in pairs])), 4)
    for gap in (1, 2, 3, 5):
        apart = [(i, i + gap) for i in range(len(files) - gap) if drive(files[i]) == drive(files[i + gap])]
        found[f"neighbours_{gap}"] = round(float(np.mean([pair in pairs for pair in apart])), 3)
    groups = together(len(files), sorted(pairs))
    found["groups"] = len(set(groups))
    found["drives"] = len({drive(file) for file in files})
    found["neighbours_in_one_group"] = round(
        float(np.mean([groups[i] == groups[i + 1] for i in range(len(files) - 1) if drive(files[i]) == drive(files[i + 1])])), 3
    )
    return found, prints


def official(data: Path, prints: list[Fingerprint]) -> dict[str, Any]:
    sides = [file.parent.name for file in frames(data)]
    scored = {pair.first if sides[pair.first] == "val" else pair.second for pair in searched(prints, sides)}
    return {"scored": sides.count("val"), "with_a_neighbour_in_train": len(scored)}


def cost(prints: list[Fingerprint], files: list[Path]) -> dict[str, Any]:
    images = [read(file) for file in files[::8]]
    start = time.process_time()
    for image in images:
        fingerprint(image)
    each = (time.process_time() - start) / len(images)
    searches = [_searched_among(prints, number) for number in COST]
    return {"fingerprint_ms": round(1000 * each, 1), "limits": LIMITS, "search": searches}


def _searched_among(prints: list[Fingerprint], number: int) -> dict[str, Any]:
    many = Gathered((str(i), one) for i, one in enumerate(_many(prints, number)))
    planted = range(PLANTED_EVERY - 1, number, PLANTED_EVERY)
    sides = ["val" if i in planted or i % 10 == 3 else "train" for i in range(number)]
    before, start = _own_memory(), time.process_time()
    with _Watch() as watch:
        pairs = alike(many, [str(i) for i in range(number)], sides, told=False)
    seconds = time.process_time() - start
    found = {(pair.first, pair.second) for pair in pairs}
    recall = float(np.mean([(i - PLANTED_BEHIND, i) in found for i in planted]))
    figures = {"images": number, "seconds": round(seconds, 1), "ms_each": round(1000 * seconds / number, 2), "pairs": len(pairs), "recall": round(recall, 4)}
    return {**figures, "own_memory_mb": round(watch.peak - before)}


class _Watch:
    """The most memory of its own that this process has while a block runs, in megabytes."""

    def __enter__(self) -> _Watch:
        self.peak, self._ended = _own_memory(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            self.peak = max(self.peak, _own_memory())


def _own_memory() -> float:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1024


def _many(prints: list[Fingerprint], number: int) -> Iterator[Fingerprint]:
    """Images that share no scene, made of corners of real ones: as unevenly spread, each changed in some bits.

    One of fifty shows what one before it shows, changed in other bits; every second of these has another picture, so that its corners alone tell it.
    """
    random = np.random.default_rng(SEED)
    pool = np.concatenate([one.corners.bits for one in prints])
    made: list[Fingerprint] = []
    for i in range(number):
        made = made[-PLANTED_BEHIND:]
        bits = [pool[random.integers(0, len(pool), CORNERS)] for _ in range(2)]
        one, other = (Corners(some ^ _flips(random, some.shape, 0.12), random.uniform(0, 256, (CORNERS, 2)).astype(np.float16)) for some in bits)
        new = Fingerprint(random.integers(0, 2**63, 8, dtype=np.uint64), random.integers(-127, 128, (32, 32)).astype(np.int8), one, other)
        if i % PLANTED_EVERY == PLANTED_EVERY - 1:
            before = made[-PLANTED_BEHIND]
            again = Corners(before.corners.bits ^ _flips(random, before.corners.bits.shape, 0.08), before.corners.positions)
            shown = before if i // PLANTED_EVERY % 2 else new
            new = Fingerprint(shown.hashes, shown.picture, again, before.mirrored)
        made.append(new)
        yield new


def searched(prints: Sequence[Fingerprint], apart: Sequence[str] | None = None) -> list[Pair]:
    """The pairs of some images, by their numbers in this order."""
    names = [str(i) for i in range(len(prints))]
    return alike(Gathered(zip(names, prints, strict=True)), names, apart, told=False)


def _flips(random: Random, shape: tuple[int, ...], share: float) -> NDArray[np.uint8]:
    return np.packbits(random.random((shape[0], 8 * shape[1])) < share, axis=1)


def main(data: Path) -> None:
    files = photographs(data)
    again = changed(files)
    near, prints = neighbours(data)
    results.write(results.beside(__file__), {"changed": again, "frames": near, "split": official(data, prints), "cost": cost(prints, files)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="that holds the data sets")
    main(parser.parse_args().folder)
