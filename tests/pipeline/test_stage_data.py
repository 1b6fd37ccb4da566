"""download and prepare by their real entry points, in a small checkout of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segline.data.store import PreparedDataset

ROOT = Path(__file__).resolve().parents[2]
MODELS = "models: {unet: {arch: unet}}\n"


@pytest.fixture
def checkout(tmp_path, warm_path):  # noqa: ARG001
    folder = tmp_path / "checkout"
    for part in ("src", "pipeline"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (folder / "data").mkdir()
    (folder / "params.yaml").write_text(MODELS + "data: {source: shapes, train: 4, val: 2, test: 3, size: [64, 96]}\n")
    return folder


def stage(checkout, name, code=0):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SEGLINE", "DVC"))}
    done = subprocess.run(["python", checkout / "pipeline" / f"{name}.py"], cwd=checkout.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def make(checkout):
    for name in ("params", "download", "prepare"):
        stage(checkout, name)
    return PreparedDataset(checkout / "data" / "prepared")


def own_images(folder, count=6):
    for i in range(count):
        for sub, suffix, array in (("PNGImages", "", np.full((20, 24, 3), 10 * i)), ("PedMasks", "_mask", np.pad(np.ones((4, 4)), ((2, 14), (3, 17))))):
            (folder / sub).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / sub / f"im{i}{suffix}.png")


def test_shapes(checkout):
    data = make(checkout)
    assert data.info.counts == {"train": 4, "val": 2, "test": 3}
    assert data.info.name == "shapes" and data.info.licence == "CC0" and data.info.truths == ("index", "instances")
    assert [c.name for c in data.info.classes] == ["background", "circle", "square", "triangle", "cross"]
    for sample in data.split("test", data.info.truths):
        assert sample.image.shape == (64, 96, 3)
        painted = np.zeros((64, 96), dtype=int)
        for label, mask in zip(sample.instances.labels, sample.instances.masks, strict=True):
            painted[mask] = label
        assert (painted == sample.mask).all()
    assert make(checkout).info == data.info


@pytest.mark.parametrize("place", ["relative", "absolute"])
def test_a_folder_of_ones_own(checkout, place):
    own_images(checkout.parent / "My images")
    source = "../../My images" if place == "relative" else checkout.parent / "My images"
    (checkout / "params.yaml").write_text(MODELS + f"data: {{source: '{source}', format: pennfudan}}\n")
    info = make(checkout).info
    manifest = json.loads((checkout / "data" / "raw" / "manifest.json").read_text())
    assert len(manifest["files"]) == 12
    assert info.name == "my_images" and sum(info.counts.values()) == 6
    own_images(checkout.parent / "My images", 7)
    assert "changed since `download`" in stage(checkout, "prepare", 2)
    stage(checkout, "download")
    stage(checkout, "prepare")
    assert PreparedDataset(checkout / "data" / "prepared").info.fingerprint != info.fingerprint


def test_a_temporary_copy_reads_the_folder_of_the_main_checkout(checkout):
    own_images(checkout / "data" / "own")
    (checkout / "params.yaml").write_text(MODELS + "data: {source: own, format: pennfudan}\n")
    copy = checkout / ".dvc" / "tmp" / "exps" / "tmp1"
    copy.mkdir(parents=True)
    for part in ("src", "pipeline"):
        shutil.copytree(checkout / part, copy / part)
    shutil.copy(checkout / "params.yaml", copy)
    (copy / "data" / "own").mkdir(parents=True)
    (copy / "data" / "own" / "README.md").write_text("committed")
    assert sum(make(copy).info.counts.values()) == 6
    assert not (checkout / "data" / "raw").exists()


def test_mistakes_end_in_sentences(checkout):
    for name in ("download", "prepare"):
        assert "run `dvc repro params` (or `python pipeline/params.py`)" in stage(checkout, name, 2)
    stage(checkout, "params")
    assert "run `dvc repro download`" in stage(checkout, "prepare", 2)
    (checkout / "data" / "own").mkdir(parents=True)
    (checkout / "params.yaml").write_text(MODELS + "data: {source: own, format: pennfudan}\n")
    stage(checkout, "params")
    assert "holds no images" in stage(checkout, "download", 2)
    own_images(checkout / "data" / "own")
    (checkout / "data" / "own" / "PNGImages" / "im0.png").write_bytes(b"")
    stage(checkout, "download")
    assert stage(checkout, "prepare", 2).startswith("error: PNGImages/im0.png cannot be decoded")
    assert sorted(f.name for f in (checkout / "data").iterdir()) == ["check", "own", "params", "raw"]
    shutil.rmtree(checkout / "data" / "own")
    assert "the folder 'own' does not exist" in stage(checkout, "download", 2)


def test_what_prepare_found_can_be_looked_at(checkout, tmp_path):
    """Also where it had to stop: then the page shows why, and there are no prepared data."""
    own_images(tmp_path / "own")
    (checkout / "params.yaml").write_text(MODELS + f"data: {{source: {tmp_path / 'own'}, format: pennfudan, splits: {{val: 0.3, test: 0.3}}}}\n")
    make(checkout)
    page, sheet = checkout / "data" / "check" / "check.html", checkout / "data" / "check" / "samples.png"
    assert "Nothing: every file could be read" in page.read_text()
    with Image.open(sheet) as picture:
        assert picture.width > 400
    (tmp_path / "own" / "PedMasks" / "im2_mask.png").write_bytes(b"no mask")
    shutil.rmtree(checkout / "data" / "prepared")
    stage(checkout, "download")
    told = stage(checkout, "prepare", code=2)
    assert "error: PedMasks/im2_mask.png cannot be decoded" in told and not (checkout / "data" / "prepared").exists()
    assert "PedMasks/im2_mask.png cannot be decoded" in page.read_text() and "<img" in page.read_text().split("id=classes")[0]
