"""`prepare` by one process and by several, on images of CamVid's kind with class masks, and on ones of COCO's kind with polygons.

    python benchmarks/prepare.py [images] [processes]        (default 400 images, all cores)

Each run is a process of its own, so that its memory can be told: of the parent, and of the largest of its children. Runs alternate, and of each kind the
quickest counts: another process on the machine can only slow one down. What they write is compared, byte for byte. The result is `benchmarks/prepare.json`.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import results
from PIL import Image

from segline.data.download import download
from segline.data.formats import catalog
from segline.data.prepare import prepare
from segline.data.sources import Splits
from segline.machine import cores

ROUNDS = 3
SIZE = (480, 640)


def photograph(random: np.random.Generator) -> Image.Image:
    """Smooth areas with some noise, which decodes as a photograph does."""
    coarse = random.integers(0, 255, (12, 16, 3)).astype(np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.BICUBIC)).astype(np.int16)
    return Image.fromarray(np.clip(pixels + random.normal(0, 9, pixels.shape), 0, 255).astype(np.uint8))


def masks(root: Path, images: int) -> dict[str, Any]:
    """JPEG images and index masks of 11 classes, in CamVid's layout."""
    random = np.random.default_rng(0)
    for i in range(images):
        split = "val" if i % 5 == 4 else "train"
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        photograph(random).save(root / split / f"{i:06}.jpg", quality=95)
        coarse = random.integers(0, 12, (30, 40)).astype(np.uint8)
        Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.NEAREST).save(root / f"{split}annot" / f"{i:06}.png")
    return {"format": "camvid"}


def polygons(root: Path, images: int) -> dict[str, Any]:
    """JPEG images, each with 7 objects of 30 corners, in COCO's layout."""
    random = np.random.default_rng(1)
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, 81)]
    (root / "annotations").mkdir(parents=True)
    for split, numbers in (("train", range(images - images // 5)), ("val", range(images // 5))):
        listed, annotations = [], []
        (root / split).mkdir()
        for i in numbers:
            photograph(random).save(root / split / f"{i:06}.jpg", quality=95)
            listed.append({"id": i, "file_name": f"{i:06}.jpg", "height": SIZE[0], "width": SIZE[1]})
            for k in range(7):
                angles = np.sort(random.uniform(0, 2 * np.pi, 30))
                radius, middle = random.uniform(15, 120), random.uniform((0, 0), SIZE[::-1])
                corners = np.clip(middle + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1), 0, (SIZE[1], SIZE[0]))
                annotations.append(
                    {"id": 7 * i + k, "image_id": i, "category_id": int(random.integers(1, 81)), "iscrowd": 0, "segmentation": [corners.ravel().tolist()]}
                )
        content = {"images": listed, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return {"format": "coco"}


def once(folder: Path, word: str, processes: int) -> dict[str, float]:
    """Seconds that one run took, of the clock and of the processors, and megabytes that it needed."""
    settings = catalog.get(word).Settings(source=str(folder / "root"), name="benchmark", splits=Splits())
    before, start = time.process_time(), time.perf_counter()
    prepare(settings, raw=folder / "raw", root=folder / "root", target=folder / "prepared", processes=processes)
    seconds = time.perf_counter() - start
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {"seconds": round(seconds, 2), "parent_cpu_s": round(own.ru_utime + own.ru_stime - before, 2)}
    figures["children_cpu_s"] = round(children.ru_utime + children.ru_stime, 2)
    return {**figures, "parent_mb": round(own.ru_maxrss / 1024), "largest_child_mb": round(children.ru_maxrss / 1024)}


def compared(make: Any, images: int, processes: int) -> dict[str, Any]:
    """One source, prepared by one process and by several."""
    with tempfile.TemporaryDirectory(prefix="segline-benchmark-") as temporary:
        folder = Path(temporary)
        (folder / "root").mkdir()
        word = make(folder / "root", images)["format"]
        settings = catalog.get(word).Settings(source=str(folder / "root"), name="benchmark")
        download(settings, root=folder / "root", seed=0, target=folder / "raw")
        best: dict[int, dict[str, float]] = {}
        digests = set()
        for _ in range(ROUNDS):
            for number in (1, processes):
                done = subprocess.run([sys.executable, __file__, "once", folder, word, str(number)], capture_output=True, text=True, check=True)
                figures: dict[str, float] = json.loads(done.stdout)
                if number not in best or figures["seconds"] < best[number]["seconds"]:
                    best[number] = figures
                digests.add(_digest(folder / "prepared"))
    one, several = best[1], best[processes]
    faster = round(one["seconds"] / several["seconds"], 2)
    # By processor seconds: what the first process does alone is not divided. On a machine that does other things, too, the clock tells less.
    divided = several["parent_cpu_s"] + several["children_cpu_s"] / processes
    could = round(one["parent_cpu_s"] / divided, 2)
    found = {"one_process": one, "several": {"processes": processes, **several}}
    return {**found, "times_as_fast": faster, "times_as_fast_by_processor_seconds": could, "same_bytes": len(digests) == 1}


def _digest(folder: Path) -> str:
    """Of all files below a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return hashlib.sha256(b"".join(file.relative_to(folder).as_posix().encode() + hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def main(images: int, processes: int) -> None:
    figures: dict[str, Any] = {"images": images, "size": SIZE, "rounds": ROUNDS}
    for make in (masks, polygons):
        figures[make.__name__] = compared(make, images, processes)
    results.write(results.beside(__file__), figures)


if __name__ == "__main__":
    if sys.argv[1:2] == ["once"]:
        print(json.dumps(once(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 400, int(sys.argv[2]) if sys.argv[2:] else cores())
