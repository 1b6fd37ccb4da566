"""`segline next` measured: which share of a pool must be labelled for 95 % of the score that all its labels give, against labels chosen at random.

    python benchmarks/labelling/next.py WORK [--pools alike films camvid] [--camvid FOLDER] [--seeds 0 1 2]

Pools: `alike` are generated shapes, every image from the same distribution; `films` are such images as they come in real life: neighbouring frames of few
scenes beside single images, and one class is in few of them; `camvid` are the frames of four drives, reduced to 120 × 96. What is scored is drawn as the first
pool is (CamVid: its validation frames). A few images are labelled at random; a network is trained on them and ranks the others, so many are labelled, and a new
network is trained from scratch, with as many steps whatever is labelled. Every way to choose starts with the same labels and the same weights. The order is the
library's own; in place of the exported model the trained network predicts, which is the same by parity. Without a pool (`--pools`) what is kept is summed up.
Each training is kept in WORK, so that a run that was cut off goes on; a way ends where it has reached its goal. Means are over the seeds, each with a pool of
its own (of CamVid: a start of its own); between two rounds the score is taken as a straight line. The result is `next.json` beside this file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import results
from training import small_unet, trained

from segline.data import shapes
from segline.data.images import png
from segline.data.leaks.fingerprint import fingerprint
from segline.data.store import Split
from segline.data.writer import SplitWriter
from segline.files import write_json
from segline.labelling import scores
from segline.labelling.rank import Seen, ordered
from segline.labelling.source import Labelled
from segline.labelling.spread import descriptor
from segline.models import catalog as architectures
from segline.provenance import digest
from segline.tasks import catalog as tasks
from segline.written import mapping
from segline_runtime.predict import predict
from segline_runtime.specification import ClassInfo, Geometry, Specification

WANTED = 0.95
STEPS, BATCH = 500, 8
SETTINGS = small_unet([12, 24, 48, 64], [{"HorizontalFlip": {"p": 0.5}}], {"epochs": 1, "batch_size": BATCH, "lr": 0.005, "warmup": 0.2})
WAYS: dict[str, tuple[str | None, bool]] = {
    "random": (None, False),
    "entropy": ("entropy", False),
    "entropy, apart": ("entropy", True),
    "margin, apart": ("margin", True),
    "balanced, apart": ("balanced", True),
    "apart alone": (None, True),
}
"""Score (None: all images are worth the same), and whether images that are alike stand apart."""

SIDE, SCORED = 64, 150
"""Pixels of both sides of a generated image, and how many are scored."""

FRAMES, SHAKE = 12, 8
"""Frames of a film, and by how many pixels its window moves at most."""

SELDOM = 0.15
"""Chance that a scene with the last class is kept in `films`."""


@dataclass(frozen=True)
class Pool:
    """images `(N, H, W, 3)`, masks `(N, H, W)`; what is scored likewise. rounds: how many are labelled, one after the other; the last are all."""

    name: str
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    scored_images: NDArray[np.uint8]
    scored_masks: NDArray[np.uint8]
    rounds: tuple[int, ...]
    classes: tuple[str, ...]


def alike(seed: int) -> Pool:
    made = [_drawn((SIDE, SIDE), (seed, 1, i)) for i in range(300)]
    return _pool("alike", made, seed, (50, 100, 170))


def films(seed: int) -> Pool:
    random = np.random.default_rng((seed, 2))
    made: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
    scene = 0
    for frames in [FRAMES] * 24 + [1] * 72:
        while True:
            image, mask = _drawn((SIDE + SHAKE, SIDE + SHAKE), (seed, 3, scene))
            scene += 1
            if not (mask == len(shapes.CLASSES)).any() or random.random() < SELDOM:
                break
        place = random.integers(0, SHAKE + 1, 2)
        for _ in range(frames):
            rows, columns = (slice(start, start + SIDE) for start in place.tolist())
            noisy = image[rows, columns] * random.uniform(0.95, 1.05) + random.normal(0, 4, (SIDE, SIDE, 3))
            made.append((np.clip(noisy, 0, 255).astype(np.uint8), mask[rows, columns]))
            place = np.clip(place + random.integers(-2, 3, 2), 0, SHAKE)
    return _pool("films", made, seed, (30, 60, 100, 160))


def camvid(folder: Path) -> Pool:
    train, scored = (_frames(folder, split) for split in ("train", "val"))
    rounds = (20, 50, 100, 170, len(train[0]))
    names = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
    return Pool("camvid", *train, *scored, rounds, names)


def _frames(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images, masks = [], []
    for file in sorted((folder / split).iterdir()):
        images.append(np.asarray(Image.open(file).convert("RGB").resize((120, 96), Image.Resampling.BOX)))
        mask = np.asarray(Image.open(folder / f"{split}annot" / f"{file.stem}.png").resize((120, 96), Image.Resampling.NEAREST))
        masks.append(np.where(mask < 11, mask, 255).astype(np.uint8))
    return np.stack(images), np.stack(masks)


def _drawn(size: tuple[int, int], seed: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    made = shapes.scene(size, seed)
    mask = np.zeros(size, dtype=np.uint8)
    for label, visible in zip(made.labels, made.visible, strict=True):
        mask[visible] = label + 1
    return made.image, mask


def _pool(name: str, made: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]], seed: int, rounds: tuple[int, ...]) -> Pool:
    scored = [_drawn((SIDE, SIDE), (seed, 4, i)) for i in range(SCORED)]
    columns = [np.stack([one[part] for one in some]) for some in (made, scored) for part in (0, 1)]
    return Pool(name, *columns, (*rounds, len(made)), ("ground", *shapes.CLASSES))


class Bench:
    """Trains on some of a pool, scores, and ranks the rest."""

    def __init__(self, pool: Pool, folder: Path, seed: int) -> None:
        self.pool, self.seed = pool, seed
        self._all = _stored(folder / "pool", pool.images, pool.masks)
        self._scored = _stored(folder / "scored", pool.scored_images, pool.scored_masks)
        self._looks = np.stack([descriptor(fingerprint(image)) for image in pool.images])
        self._settings = architectures.settings("resenc_unet").model_validate({**SETTINGS, "input": {"size": list(pool.images.shape[1:3])}})
        values = pool.images.reshape(-1, 3) / 255
        self._specification = Specification(
            task="semantic",
            model="bench",
            dataset=pool.name,
            classes=tuple(ClassInfo(i, word, (i, i, i), True) for i, word in enumerate(pool.classes)),
            geometry=Geometry("native", (pool.images.shape[1], pool.images.shape[2])),
            mean=tuple(values.mean(axis=0).tolist()),
            std=tuple(values.std(axis=0).tolist()),
        )

    def trained(self, chosen: Sequence[int], folder: Path) -> tuple[float, nn.Module]:
        """Mean IoU of a network that was trained on these images, and the network."""
        part = self._all.part(sorted(chosen))
        return trained(self._settings, self._specification, part, self._scored, steps=STEPS, seed=self.seed, folder=folder)

    def ranked(self, network: nn.Module, chosen: Sequence[int], way: str, number: int) -> list[int]:
        """The next `number` images that are not labelled."""
        word, apart = WAYS[way]
        rest = np.setdiff1d(np.arange(len(self.pool.images)), chosen)
        if word is None and not apart:
            return np.random.default_rng((self.seed, len(chosen))).permutation(rest)[:number].tolist()
        known = Labelled(frozenset(), self._looks[list(chosen)])
        score = scores.get(word or scores.DEFAULT)
        seen = []
        with torch.inference_mode():
            graph = tasks.learning("semantic").graph(network, self._specification)
            for i in rest.tolist():
                if word is None:
                    even = np.ones(1)
                    seen.append(Seen(even, even, "", self._looks[i]))
                    continue
                prediction = predict(graph.run, self._specification, self.pool.images[i], probabilities=True)
                found = tasks.hesitate("semantic")(prediction, score.measure, self._specification.classes)
                seen.append(Seen(found.doubt, found.amount, found.why, self._looks[i]))
        _, order = ordered(seen, score=score, known=known, apart=apart, first=number)
        return rest[order.numbers[:number]].tolist()


def _stored(folder: Path, images: NDArray[np.uint8], masks: NDArray[np.uint8]) -> Split:
    writer = SplitWriter(folder, ("index",))
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        writer.add(f"{i:05d}", ".png", png(image), (mask.shape[0], mask.shape[1]), mask, ())
    writer.finish()
    return Split(folder, ("index",))


def run(pool: Pool, seed: int, ways: Sequence[str], work: Path) -> None:
    """All rounds of some ways. Kept by what they depend on: another number of steps is another question."""
    key = digest({"settings": SETTINGS, "steps": STEPS, "rounds": list(pool.rounds)})[:12]
    kept = work / f"{pool.name}-{seed}-{key}.json"
    found: dict[str, Any] = mapping(kept) if kept.is_file() else {"pool": pool.name, "seed": seed, "images": len(pool.images), "rounds": {}}
    rounds: dict[str, dict[str, Any]] = found["rounds"]
    start = np.random.default_rng(seed).permutation(len(pool.images))[: pool.rounds[0]].tolist()

    with tempfile.TemporaryDirectory(prefix="segline-benchmark-") as folder:
        bench = Bench(pool, Path(folder), seed)

        def asked(place: str, chosen: Sequence[int], by: Sequence[str], number: int) -> dict[str, Any]:
            """A training, and what each way would then label."""
            if place not in rounds:
                began = time.process_time()
                score, network = bench.trained(chosen, Path(folder) / "resume")
                new = {way: bench.ranked(network, chosen, way, number) for way in by}
                rounds[place] = {"score": round(score, 4), "cpu_s": round(time.process_time() - began, 1), "new": new}
                write_json(kept, found)
                print(f"{pool.name} {seed} {place} {score:.3f} {rounds[place]['cpu_s']} s", flush=True)
            return rounds[place]

        goal = WANTED * asked(f"all: {len(pool.images)}", range(len(pool.images)), (), 0)["score"]
        first = asked(f"start: {len(start)}", start, tuple(WAYS), pool.rounds[1] - pool.rounds[0])
        for way in ways:
            chosen, before = list(start), first
            for count, following in zip(pool.rounds[1:-1], pool.rounds[2:], strict=True):
                if before["score"] >= goal:
                    break
                chosen = [*chosen, *before["new"][way]]
                assert len(set(chosen)) == count
                last = following == len(pool.images)
                before = asked(f"{way}: {count}", chosen, () if last else (way,), following - count)


def told(work: Path) -> dict[str, Any]:
    """What the runs in WORK come to, by pool and way; without those that have no more than begun."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(work.glob("*.json")):
        one = mapping(file)
        if any(place.startswith("start: ") for place in one["rounds"]):
            runs.setdefault(one["pool"], []).append(one)
    return {name: _summary(some) for name, some in runs.items()}


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    images = runs[0]["images"]
    full = [one["rounds"][f"all: {images}"]["score"] for one in runs]
    ways: dict[str, Any] = {}
    for way in WAYS:
        curves = [_curve(one["rounds"], way) for one in runs]
        if max(len(curve) for curve in curves) < 2:
            continue  # nobody asked for it
        ended = [_ended(one["rounds"], way, curve, goal) for one, curve, goal in zip(runs, curves, full, strict=True)]
        needed = [_needed(curve, goal, images) / images for curve, goal, done in zip(curves, full, ended, strict=True) if done]
        ways[way] = {
            "share_needed": round(float(np.mean(needed)), 3) if needed else None,
            "by_seed": [round(share, 3) for share in needed],
            "miou_by_labels": [{str(count): score for count, score in curve} for curve in curves],
        }
    return {"images": images, "seeds": len(runs), "miou_of_all_labels": round(float(np.mean(full)), 3), "by_seed": full, "ways": ways}


def _curve(rounds: dict[str, Any], way: str) -> list[tuple[int, float]]:
    """Labels and scores of one way, from the common start on."""
    start = [(int(place.rpartition(" ")[2]), done["score"]) for place, done in rounds.items() if place.startswith("start: ")]
    found = [(int(place.rpartition(" ")[2]), done["score"]) for place, done in rounds.items() if place.rpartition(":")[0] == way]
    return [*start, *sorted(found)]


def _ended(rounds: dict[str, Any], way: str, curve: list[tuple[int, float]], full: float) -> bool:
    """Whether a way has reached its goal, or has no further round."""
    last = rounds.get(f"{way}: {curve[-1][0]}")
    return max(score for _, score in curve) >= WANTED * full or (last is not None and not last["new"])


def _needed(curve: list[tuple[int, float]], full: float, images: int) -> float:
    """Labels at which a curve first reaches the wanted share of the full score."""
    goal = WANTED * full
    before = curve[0]
    for count, score in [*curve, (images, full)]:
        if score >= goal:
            if score == before[1]:
                return float(count)
            return before[0] + (goal - before[1]) / (score - before[1]) * (count - before[0])
        before = (count, score)
    return float(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="where trainings are kept")
    parser.add_argument("--pools", nargs="*", default=["alike", "films"], choices=["alike", "films", "camvid"])
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--camvid", type=Path, help="a folder in the SegNet layout")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    given = parser.parse_args()
    if "camvid" in given.pools and given.camvid is None:
        sys.exit("Say by --camvid where CamVid lies.")
    given.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    makers = {"alike": alike, "films": films, "camvid": lambda _seed: camvid(given.camvid)}
    for seed in given.seeds:
        for name in given.pools:
            run(makers[name](seed), seed, given.ways, given.work)
    how = {"wanted": WANTED, "steps": STEPS, "batch_size": BATCH, "network": SETTINGS["arch"], "widths": SETTINGS["widths"]}
    results.write(results.beside(__file__), {**how, "pools": told(given.work)})


if __name__ == "__main__":
    main()
