"""`benchmarks/gpu`: the command that proves and measures the GPU path runs through on a CPU, and what it reports is what it found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
GPU = ROOT / "benchmarks" / "gpu"

CHECKS = (
    {f"line_unet_{precision}" for precision in ("auto", "fp32")}
    | {f"first_loss_{arch}" for arch in ("unet", "maskrcnn")}
    | {"line_maskrcnn_auto", "killed_unet", "early_stopping", "memory", "two_processes"}
)


def command(script: str, *arguments: str | Path, code: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "SEGLINE_HOME"} | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(GPU / script), *map(str, arguments)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == code, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one run with the smallest sizes; the limits are wide, as other tests may run beside it."""
    out = tmp_path_factory.mktemp("gpu") / "results"
    limits = [word for part in ("works", "fast", "learns", "onnx") for word in ("--seconds-of", part, "600")]
    command("run", "--tiny", "--device", "cpu", "--out", out, "--total", "800", *limits)
    return out


def part(results: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((results / f"{name}.json").read_text())
    return found


def test_every_part_is_done_and_passed(results: Path) -> None:
    for name in ("works", "fast", "learns", "onnx"):
        found = part(results, name)
        assert (found["status"], found["passed"], found["tiny"], found["device"]) == ("done", True, True, "cpu"), name
        assert found["steps"].keys() == {file.stem for file in (results / name).glob("*.json")}


def test_what_must_be_true_was_asked(results: Path) -> None:
    steps = part(results, "works")["steps"]
    assert steps.keys() == CHECKS
    assert steps["line_unet_fp32"]["precision"] == "fp32"
    assert steps["first_loss_unet"]["here"] == steps["first_loss_unet"]["cpu"], "here is the CPU"
    assert steps["killed_unet"]["said_that_it_goes_on"]
    assert re.search(r"train\.batch_size 8 .*Set train\.batch_size: 4 and train\.accumulate: 2", steps["memory"]["sentence"])
    assert steps["two_processes"]["first_loss_difference"] <= 0.01


def test_speeds_are_measured_and_compared_as_the_table_says(results: Path) -> None:
    steps = part(results, "fast")["steps"]
    measured = [step for step in steps.values() if "images_per_second" in step]
    assert all(step["images_per_second"] > 0 and step["steps"] >= 1 for step in measured)
    assert {(step["by"], step["fed"]) for step in measured} == {(by, fed) for by in ("segline", "plain") for fed in ("loader", "memory")}
    assert any(step["compiled"] for step in measured)
    ours, plain = (steps[f"unet-tiny-{by}-default-loader"]["images_per_second"] for by in ("segline", "plain"))
    [row] = re.findall(r"^\| unet-tiny \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ≥", (results / "report.md").read_text(), re.MULTILINE)
    assert [float(value) for value in row[:2]] == [pytest.approx(ours, rel=1e-3), pytest.approx(plain, rel=1e-3)]
    assert float(row[2]) == pytest.approx(ours / plain, abs=0.006)
    profile = (results / steps["unet-tiny-profile"]["table"]).read_text()
    assert "convolution" in profile
    with ZipFile(results / "results.zip") as archive:
        assert {"report.md", "machine.json", "fast.json", "profile-unet-tiny.txt", "pictures/images-per-second.png"} <= set(archive.namelist())


def test_what_has_learnt_comes_back_in_half_precision(results: Path, tmp_path: Path) -> None:
    step = part(results, "learns")["steps"]["unet_imagenet"]
    assert step["pretrained"] and 0 <= step["score"] <= 1
    assert all((results / "pictures" / name).is_file() for name in step["pictures"]) and any("overlays" in name for name in step["pictures"])
    said = command("run", "--restore", results / "kept" / "unet_imagenet", "--to", tmp_path)
    assert "python pipeline/export.py unet_imagenet" in said
    trained = torch.load(results / "scratch" / "learns" / "shapes" / "models" / "unet_imagenet" / "weights.pt", weights_only=True)
    restored = torch.load(tmp_path / "unet_imagenet" / "weights.pt", weights_only=True)
    assert trained.keys() == restored.keys()
    for name, value in trained.items():
        assert restored[name].dtype == value.dtype
        torch.testing.assert_close(restored[name], value.half().to(value.dtype) if value.is_floating_point() else value, rtol=0, atol=0)


def test_a_second_call_does_nothing_again(results: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in results.rglob("*.json")}
    said = command("run", "--tiny", "--device", "cpu", "--out", results)
    assert said.count("done before") == 4
    after = {file: file.stat().st_mtime_ns for file in results.rglob("*.json")}
    assert {file.name for file in after if after[file] != before.get(file)} == {"machine.json"}


def test_what_has_no_time_is_put_off_and_told(tmp_path: Path) -> None:
    said = command("run", "--tiny", "--device", "cpu", "--out", tmp_path, "--parts", "works", "--seconds-of", "works", "1", code=1)
    assert "put off" in said
    assert "Unfinished" in (tmp_path / "report.md").read_text()
    assert part(tmp_path, "works")["status"] == "unfinished"


def _data(folder: Path) -> Path:
    """Three road scenes and three pedestrians, in noise."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    for name in ("camvid/train", "camvid/trainannot", "PennFudanPed/PNGImages", "PennFudanPed/PedMasks"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        Image.fromarray(noise).save(folder / "camvid" / "train" / f"{number}.png")
        Image.fromarray(noise[:, :, 0] % 12).save(folder / "camvid" / "trainannot" / f"{number}.png")
        Image.fromarray(noise).save(folder / "PennFudanPed" / "PNGImages" / f"{number}.png")
        Image.fromarray(noise[:, :, 0] % 3).save(folder / "PennFudanPed" / "PedMasks" / f"{number}_mask.png")
    (folder / "camvid" / "train.txt").write_text("".join(f"train/{number}.png trainannot/{number}.png\n" for number in range(3)))
    return folder


def test_a_bundle_holds_what_the_command_needs(tmp_path: Path) -> None:
    from segline.data.formats import camvid, pennfudan

    data, bundle = _data(tmp_path / "data"), tmp_path / "bundle"
    command("bundle", bundle, "--no-wheels", "--data", data)
    assert sum(json.loads((bundle / "bundle.json").read_text())["bytes"].values()) < 5 * 2**20
    roads = camvid.FORMAT.read(bundle / "data" / "camvid", camvid.Settings(source="x"))
    people = pennfudan.FORMAT.read(bundle / "data" / "PennFudanPed", pennfudan.Settings(source="x"))
    assert [len(found.records) for found in (roads, people)] == [3, 3]
    assert not roads.refused and not people.refused
    assert all(record.image.suffix == ".jpg" for found in (roads, people) for record in found.records)
    code = bundle / "code" / "benchmarks" / "gpu" / "run"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    places = [str(code.parent), str(code.parents[1]), str(bundle / "code" / "src")]
    script = f"import sys; sys.path[:0] = {places!r}; import segline, proof.command as c; print(segline.__file__, c._beside('data'))"
    imported = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert [Path(path) for path in imported] == [bundle / "code" / "src" / "segline" / "__init__.py", bundle / "data"]
    assert os.access(code, os.X_OK)


def test_a_bundle_that_is_too_large_is_refused(tmp_path: Path) -> None:
    said = command("bundle", tmp_path / "bundle", "--no-wheels", "--mib", "0.1", code=2)
    assert "0.1 are allowed" in said and "code" in said
    assert list(tmp_path.iterdir()) == []
