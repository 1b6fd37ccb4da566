"""Reading the objects of single images from a prepared split of COCO's kind: by the index, and as a whole, as version 1 of the store did.

    python benchmarks/data_store.py [images]        (default 20,000; COCO's train2017 has 118,287)

Each way runs in a process of its own, so that its memory can be told. The result is `benchmarks/data_store.json`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import results

from segline.data.formats.base import SourceObject
from segline.data.images import png
from segline.data.store import Split
from segline.data.writer import SplitWriter
from segline_runtime.specification import ClassInfo

SIZE = (480, 640)
OBJECTS = 7  # per image, as in COCO
READ = 500  # images, at random


def write(folder: Path, images: int) -> None:
    """A split whose objects are discs; its images are tiny, so that what is timed is the annotations."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    discs = [(x - rng.integers(SIZE[1])) ** 2 + (y - rng.integers(SIZE[0])) ** 2 < rng.integers(10, 120) ** 2 for _ in range(50)]
    objects = [SourceObject(1, disc) for disc in discs]
    writer = SplitWriter(folder, [ClassInfo(0, "background", (0, 0, 0), False), ClassInfo(1, "disc", (9, 9, 9), True)], ("instances",))
    blank = png(np.zeros((8, 8), dtype=np.uint8))
    for i in range(images):
        chosen = [objects[int(k)] for k in rng.integers(0, len(objects), OBJECTS)]
        writer.add(f"{i:012d}", ".png", blank, SIZE, None, chosen)
    writer.finish()


def read(folder: Path) -> dict[str, float]:
    """Seconds to the first image, milliseconds for each further one, megabytes of memory at most."""
    split = Split(folder, ("instances",))
    start = time.perf_counter()
    assert len(split[0].instances) == OBJECTS
    first = time.perf_counter()
    for i in np.random.default_rng(1).integers(0, len(split), READ):
        assert len(split[int(i)].instances.rles()) == OBJECTS
    seconds = time.perf_counter() - first
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"first_image_s": round(first - start, 3), "further_image_ms": round(1000 * seconds / READ, 2), "peak_memory_mb": round(peak)}


def main(images: int) -> None:
    with tempfile.TemporaryDirectory(prefix="segline-benchmark-") as temporary:
        folder = Path(temporary) / "train"
        write(folder, images)
        result: dict[str, object] = {"images": images, "objects": images * OBJECTS, "json_mb": round((folder / "instances.json").stat().st_size / 2**20, 1)}
        result["index"] = _in_a_process(folder)
        for name in ("split.json", "instances.npy"):
            (folder / name).unlink()
        result["whole"] = _in_a_process(folder)
    results.write(results.beside(__file__), result)


def _in_a_process(folder: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, "read", folder], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["read"]:
        print(json.dumps(read(Path(sys.argv[2]))))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 20_000)
