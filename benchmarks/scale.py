"""The data half of the line at COCO's size: 118,000 generated images of 64x48 pixels, 860,000 annotations, four in five polygons, one in five RLE.

    python benchmarks/scale.py [SHARE ...]        (default 0.1 and 1: the shares of that size that are prepared, which tells whether cost grows in step)

In a clone of this checkout, `download` and `prepare` run as DVC would run them; seconds are told by the clock and of the processors, which depend less on what
else the machine does; the memory is that of all their processes together, pages that these share counted once. Then `dvc repro` is asked whether anything is to
be done, loader processes read a part of the images, and as many are read from the packed files and from files of their own, in turns. The result is
`benchmarks/scale.json`, with the limits beside the figures.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import results
from clone import core_seconds
from PIL import Image
from pycocotools import mask as rle
from ruamel.yaml import YAML
from torch.utils.data import DataLoader

from segline.data.store import EncodedMasks, Instances, PreparedDataset, Split, Truth
from segline.training.loaders import validation_loader
from segline_runtime.images import to_array

IMAGES, ANNOTATIONS, CLASSES = 118_000, 860_000, 80
HEIGHT, WIDTH = 48, 64
CORNERS = 12  # of a polygon
LIMITS = {"prepare_peak_mb": 4096, "prepare_processor_ms_an_image": 12, "files": 200, "nothing_to_do_s": 10, "loader_process_mb": 300}
READ = 4_000  # images, at most, of each way to read them
ROUNDS = 3
KINDS: tuple[tuple[Truth, ...], ...] = (("index",), ("instances",))


def source(root: Path, share: float) -> None:
    """A folder in COCO's layout: one image in twenty is for validation."""
    random = np.random.default_rng(0)
    number, annotations = round(IMAGES * share), round(ANNOTATIONS * share)
    pictures = [_picture(random) for _ in range(100)]
    shapes = [_shape(random) for _ in range(2000)]
    each = np.bincount(random.integers(0, number, annotations), minlength=number).tolist()
    (root / "annotations").mkdir(parents=True)
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)]
    identity = 0
    for split, chosen in (("train", [i for i in range(number) if i % 20]), ("val", range(0, number, 20))):
        (root / f"{split}2017").mkdir()
        listed = [{"id": i, "file_name": f"{i:012}.jpg", "height": HEIGHT, "width": WIDTH} for i in chosen]
        with (root / "annotations" / f"instances_{split}2017.json").open("w") as stream:
            stream.write(json.dumps({"images": listed, "categories": categories})[:-1] + ', "annotations": [')
            separator = ""
            for i in chosen:
                comment = f"image {i}".encode()  # makes each file another one
                picture = pictures[i % len(pictures)]
                content = picture[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + picture[2:]
                (root / f"{split}2017" / f"{i:012}.jpg").write_bytes(content)
                for k in range(each[i]):
                    identity += 1
                    shape = shapes[(31 * i + k) % len(shapes)]
                    stream.write(f'{separator}{{"id": {identity}, "image_id": {i}, "category_id": {(i + k) % CLASSES + 1}, {shape}}}')
                    separator = ", "
            stream.write("]}")


def _picture(random: np.random.Generator) -> bytes:
    coarse = Image.fromarray(random.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    stream = io.BytesIO()
    coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _shape(random: np.random.Generator) -> str:
    """An annotation's area, box and outline, as JSON has them."""
    angles = np.sort(random.uniform(0, 2 * np.pi, CORNERS))
    radius, middle = random.uniform(3, 16), random.uniform((4, 4), (WIDTH - 4, HEIGHT - 4))
    corners = np.clip(middle + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1), 0, (WIDTH, HEIGHT)).round(2)
    polygon = corners.ravel().tolist()
    runs = rle.merge(rle.frPyObjects([polygon], HEIGHT, WIDTH))
    if not rle.area(runs):
        return _shape(random)
    outline: Any = [polygon]
    if random.random() < 0.2:
        outline = {"size": [HEIGHT, WIDTH], "counts": runs["counts"].decode()}
    said = {"iscrowd": 0, "area": float(rle.area(runs)), "bbox": [float(side) for side in rle.toBbox(runs)], "segmentation": outline}
    return json.dumps(said)[1:-1]


def measured(folder: Path, share: float) -> dict[str, Any]:
    """One share of COCO's size, through the data half of the line."""
    start = time.perf_counter()
    source(folder / "coco", share)
    made = time.perf_counter() - start
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(results.ROOT), str(clone)], check=True)
    _write_parameters(clone / "params.yaml", folder / "coco")
    figures: dict[str, Any] = {"images": round(IMAGES * share), "annotations": round(ANNOTATIONS * share), "source_s": round(made, 1)}
    for stage in ("params", "download", "prepare"):
        seconds, own, peak = _watched([sys.executable, f"pipeline/{stage}.py"], clone)
        if stage in ("download", "prepare"):
            figures |= {f"{stage}_s": round(seconds, 1), f"{stage}_processor_s": round(own, 1), f"{stage}_peak_mb": round(peak)}
    figures["prepare_processor_ms_an_image"] = round(1000 * figures["prepare_processor_s"] / figures["images"], 2)
    prepared = clone / "data" / "prepared"
    files = [file for file in prepared.rglob("*") if file.is_file()]
    figures |= {"files": len(files), "prepared_mb": round(sum(file.stat().st_size for file in files) / 2**20, 1)}
    _dvc(clone, "commit", "--force", "params", "download", "prepare")
    nothing, processors = [], []
    for _ in range(ROUNDS):
        start, before = time.perf_counter(), core_seconds()
        assert "Running stage" not in _dvc(clone, "repro", "prepare")
        nothing.append(time.perf_counter() - start)
        processors.append(core_seconds() - before)
    figures |= {"nothing_to_do_s": round(min(nothing), 2), "nothing_to_do_processor_s": round(min(processors), 2)}
    data = PreparedDataset(prepared)
    figures["loader_process_mb"] = {truths[0]: _in_a_process(prepared, truths) for truths in KINDS}
    figures["images_per_s"] = {truths[0]: _speeds(data.split("train", truths), folder / truths[0]) for truths in KINDS}
    return figures


def _write_parameters(file: Path, root: Path) -> None:
    yaml = YAML()
    values = yaml.load(file)
    values["data"] = {"source": str(root), "format": "coco", "name": "scale"}
    values.pop("promote", None)
    yaml.dump(values, file)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # the clone's own code
    return kept | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]), "DVC_NO_ANALYTICS": "1"}


def _dvc(clone: Path, *arguments: str) -> str:
    done = subprocess.run(["dvc", *arguments], cwd=clone, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"dvc {' '.join(arguments)} failed:\n{done.stdout}")
    return done.stdout


def _watched(command: Sequence[str], clone: Path) -> tuple[float, float, float]:
    """Seconds that a stage took, by the clock and of the processors, and the most megabytes that its processes held together."""
    start, before = time.perf_counter(), core_seconds()
    process = subprocess.Popen(command, cwd=clone, env=_environment(), stdout=subprocess.DEVNULL)
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            peak[0] = max(peak[0], sum(_memory(one, "Pss") for one in _with_children(process.pid)))

    watching = threading.Thread(target=watch)
    watching.start()
    code = process.wait()
    ended.set()
    watching.join()
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return time.perf_counter() - start, core_seconds() - before, peak[0]


def _with_children(pid: int) -> list[int]:
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _with_children(int(child))
    return found


def _memory(pid: int, *kinds: str) -> float:
    """Megabytes of these kinds, by their names in `smaps_rollup`; 0 for a process that has ended."""
    with suppress(OSError):
        lines = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
        return sum(int(line[1]) for line in lines if line[0].rstrip(":") in kinds) / 1024
    return 0.0


def _in_a_process(prepared: Path, truths: tuple[Truth, ...]) -> dict[str, int]:
    """`loader_memory` in a process of its own, as training is one."""
    done = subprocess.run([sys.executable, __file__, "loader", prepared, *truths], capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def loader_memory(prepared: Path, truths: tuple[Truth, ...]) -> dict[str, int]:
    """Of a loader process that reads images from the whole split, in megabytes: what it wrote itself, and the pages of files that it alone has mapped.

    These are the system's, which takes them back when memory runs short.
    """
    split = PreparedDataset(prepared).split("train", truths)
    part = split.part(np.linspace(0, len(split) - 1, min(len(split), READ)).astype(int).tolist())
    loader: DataLoader[Any] = validation_loader(part, batch_size=16, rank=0, world=1, workers=1)
    own = mapped = 0.0
    for samples in loader:
        assert samples
        [worker] = multiprocessing.active_children()
        assert worker.pid
        own, mapped = max(own, _memory(worker.pid, "Private_Dirty")), max(mapped, _memory(worker.pid, "Private_Clean"))
    return {"own": round(own), "mapped": round(mapped)}


def _speeds(split: Split, folder: Path) -> dict[str, float]:
    """Images a second by one process: from the packed files, and from files of their own with an index of annotations, each the best of some rounds."""
    part = split.part(range(min(len(split), READ)))
    _unpack(part, folder)
    best = {"packed": 0.0, "files": 0.0}
    for _ in range(ROUNDS):
        for way, read in (("packed", _read_packed), ("files", _read_files)):
            start = time.perf_counter()
            read(part, folder)
            best[way] = max(best[way], len(part) / (time.perf_counter() - start))
    return {way: round(found) for way, found in best.items()} | {"ratio": round(best["packed"] / best["files"], 2)}


def _unpack(part: Split, folder: Path) -> None:
    folder.mkdir()
    offsets = []
    with (folder / "instances.json").open("wb") as stream:
        for i, sample in enumerate(part):
            (folder / f"{sample.name}.jpg").write_bytes(part.content(i))
            if sample.mask is not None:
                Image.fromarray(sample.mask).save(folder / f"{sample.name}.png")
            start = stream.tell()
            if sample.instances is not None:
                boxes, labels, areas = sample.instances.boxes.tolist(), sample.instances.labels.tolist(), sample.instances.areas.tolist()
                said = zip(sample.instances.rles(), boxes, labels, areas, strict=True)
                found = [{"segmentation": _text(one), "bbox": box, "category_id": label, "area": area, "iscrowd": 0} for one, box, label, area in said]
                stream.write(json.dumps(found).encode())
            offsets.append((start, stream.tell()))
    np.save(folder / "offsets.npy", offsets)


def _text(mask: dict[str, Any]) -> dict[str, Any]:
    counts = mask["counts"]
    return {**mask, "counts": counts.decode() if isinstance(counts, bytes) else counts}


def _read_packed(part: Split, _folder: Path) -> None:
    for sample in Split(part.folder, part.truths, part.image).part(range(len(part))):
        assert sample.image.shape == (HEIGHT, WIDTH, 3)


def _read_files(part: Split, folder: Path) -> None:
    """What reading files of their own cannot do without."""
    offsets = np.load(folder / "offsets.npy", mmap_mode="r")
    for i, name in enumerate(part.names()):
        image = to_array(folder / name, part.image)
        assert image.shape == (HEIGHT, WIDTH, 3)
        if "index" in part.truths:
            with Image.open(folder / f"{Path(name).stem}.png", formats=["PNG"]) as mask:
                np.asarray(mask)
        if "instances" in part.truths:
            with (folder / "instances.json").open("rb") as stream:
                stream.seek(offsets[i, 0])
                found = json.loads(stream.read(offsets[i, 1] - offsets[i, 0]))
            boxes = np.zeros((len(found), 4), dtype=np.float32)
            for k, one in enumerate(found):
                x, y, width, height = one["bbox"]
                boxes[k] = x, y, x + width, y + height
            labels = np.array([one["category_id"] for one in found], dtype=np.int64)
            crowd = np.array([bool(one["iscrowd"]) for one in found], dtype=np.bool_)
            areas = np.array([one["area"] for one in found], dtype=np.float64)
            Instances(EncodedMasks([one["segmentation"] for one in found], (HEIGHT, WIDTH)), boxes, labels, crowd, areas)


def main(shares: Sequence[float]) -> None:
    found: dict[str, Any] = {}
    for share in shares:
        with tempfile.TemporaryDirectory(prefix="segline-benchmark-") as folder:
            found[f"{share:g}"] = measured(Path(folder), share)
    figures: dict[str, Any] = {"limits": LIMITS, "shares": found}
    if len(shares) > 1:
        small, large = found[f"{min(shares):g}"], found[f"{max(shares):g}"]
        times = large["images"] / small["images"]
        figures["seconds_an_image_times"] = round(large["prepare_s"] / small["prepare_s"] / times, 2)
        figures["processor_seconds_an_image_times"] = round(large["prepare_processor_s"] / small["prepare_processor_s"] / times, 2)
        figures["memory_an_image_times"] = round(large["prepare_peak_mb"] / small["prepare_peak_mb"] / times, 2)
    results.write(results.beside(__file__), figures)


if __name__ == "__main__":
    if sys.argv[1:2] == ["loader"]:
        print(json.dumps(loader_memory(Path(sys.argv[2]), tuple(sys.argv[3:]))))  # type: ignore[arg-type]
        sys.exit()
    main([float(share) for share in sys.argv[1:]] or [0.1, 1.0])
