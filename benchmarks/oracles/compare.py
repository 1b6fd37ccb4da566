"""Generated annotation files read by Segline and by the tools' own converters, compared pixel by pixel (see README.md).

    python benchmarks/oracles/compare.py labelme=/tmp/labelme/bin/python … [--images 40] [--golden]

Writes compare.json: for each format the tool and its version, the objects, how many of them differ, and by how many pixels, in all and at most.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from cases import MAKERS
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segline.data.check import Frame
from segline.data.formats import catalog

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parents[1] / "tests" / "golden" / "tools"
SEED = 11
SCRIPTS = {
    "labelme": "labelme_shapes", "cityscapes": "cityscapes_scripts", "cvat": "cvat_datumaro", "supervisely": "supervisely_sdk", "labelbox": "labelbox_sdk",
    "coco": "coco_pycocotools", "yolo": "yolo_supervision",
}  # fmt: skip
"""By format: the script that runs in the tool's environment."""

READ_AS = {"supervisely_beyond": "supervisely"}
"""Sources that are called otherwise than their format."""

Mask = NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", nargs="+", metavar="FORMAT=PYTHON")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--golden", action="store_true")
    chosen = parser.parse_args()
    target = HERE / "compare.json"
    found = json.loads(target.read_text()) if target.is_file() else {}
    for word, python in (tool.split("=", 1) for tool in chosen.tools):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder, "root")
            MAKERS[word](root, chosen.images, np.random.default_rng(SEED))
            found[word] = compared(word, root, made_by(word, python, root))
            print(word, found[word], flush=True)
        if chosen.golden and found[word]["pixels_that_differ"] == 0:
            with tempfile.TemporaryDirectory() as folder:
                keep(word, python, Path(folder, "root"))
    target.write_text(json.dumps(dict(sorted(found.items())), indent=2) + "\n")


def made_by(word: str, python: str, root: Path) -> dict[str, Any]:
    """What the tool makes of a source."""
    target = root.parent / "made.json"
    subprocess.run([python, str(HERE / "tools" / f"{SCRIPTS[READ_AS.get(word, word)]}.py"), str(root), str(target)], check=True, stdout=subprocess.DEVNULL)
    content: dict[str, Any] = json.loads(target.read_text())
    return content


def keep(word: str, python: str, root: Path) -> None:
    """A source of two images as a golden file of the tests: its annotations, and what the tool makes of them."""
    MAKERS[word](root, 2, np.random.default_rng(SEED + 1))
    sizes = {}
    files = {}
    for file in sorted(file for file in root.rglob("*") if file.is_file()):
        shown = file.relative_to(root).as_posix()
        if file.suffix == ".png":
            with Image.open(file) as image:
                sizes[shown] = [image.height, image.width]
        else:
            files[shown] = file.read_text()
    GOLDEN.mkdir(parents=True, exist_ok=True)
    content = {"images": sizes, "files": files, **{"made": made_by(word, python, root)}}
    (GOLDEN / f"{word}.json").write_text(json.dumps(content) + "\n")


def compared(word: str, root: Path, made: dict[str, Any]) -> dict[str, Any]:
    objects = differing = most = total = off = pixels = seen_pixels = seen_total = 0
    for stem, (ours, seen, size) in read(word, root).items():
        theirs = numbered((name, mask_of(runs, size)) for name, runs in made["images"][stem]["objects"])
        for key in sorted(ours.keys() | theirs.keys()):
            nothing = np.zeros(size, dtype=np.bool_)
            unlike = ours.get(key, nothing) != theirs.get(key, nothing)
            apart = int(unlike.sum())
            off += int((unlike & ~outline(theirs.get(key, nothing))).sum())
            objects, differing, total, most = objects + 1, differing + (apart > 0), total + apart, max(most, apart)
            pixels += int(theirs.get(key, nothing).sum())
        shown = made["images"][stem]["seen"]
        if shown is not None:
            seen_total += size[0] * size[1]
            wrong = np.zeros(size, dtype=np.bool_)
            for name in sorted(seen.keys() | shown.keys()):
                wrong |= seen.get(name, np.zeros(size, np.bool_)) != (mask_of(shown[name], size) if name in shown else False)
            seen_pixels += int(wrong.sum())
    semantic = {"seen_pixels_that_differ": seen_pixels, "seen_pixels": seen_total} if seen_total else {}
    return {
        "tool": made["tool"], "objects": objects, "objects_that_differ": differing, "pixels_that_differ": total, "of_these_not_at_the_outline": off,
        "most_in_one_object": most, "pixels": pixels, **semantic,
    }  # fmt: skip


def read(word: str, root: Path) -> dict[str, tuple[dict[tuple[str, int], Mask], dict[str, Mask], tuple[int, int]]]:
    """By stem: what Segline makes of an image's objects, by name and place among those of the name; where each class is seen; and its size."""
    reader = catalog.get(READ_AS.get(word, word))
    source = reader.FORMAT.read(root, reader.Settings(source=str(root)))
    found = {}
    for record in source.records:
        with Image.open(root / record.image) as image:
            size = image.height, image.width
        truth = record.truth(Frame(*size))
        objects = numbered((source.classes[one.label].name, one.mask) for one in truth.objects)
        seen = {one.name: truth.mask == i for i, one in enumerate(source.classes) if one.name != "background" and (truth.mask == i).any()}
        found[record.image.stem] = objects, seen, size
    return found


def numbered(objects: Any) -> dict[tuple[str, int], Mask]:
    times: Counter[str] = Counter()
    found: dict[tuple[str, int], Mask] = {}
    for name, mask in objects:
        found[name, times[name]] = mask
        times[name] += 1
    return found


def outline(mask: Mask) -> Mask:
    """The pixels on both sides of a mask's border."""
    image = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(np.asarray(image.filter(ImageFilter.MaxFilter(3))) != np.asarray(image.filter(ImageFilter.MinFilter(3))))


def mask_of(runs: list[int], size: tuple[int, int]) -> Mask:
    """Of run lengths row by row, beginning with what is not of it."""
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size)


if __name__ == "__main__":
    main()
