"""The bundle: what `benchmarks/gpu/run` needs on a machine with torch and a GPU, and without network.

code/        src/, benchmarks/gpu/ and what they use, as this checkout has them
wheels/      what that machine's Python lacks (WHEELS), for Linux on x86-64
data/        CamVid and Penn-Fudan as JPEG, where they were given; shapes are generated there
weights/     encoder.pth, where it was given
bundle.json  what it holds, in bytes
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from proof.settings import ROOT
from segline.errors import DataError, told_in_sentences
from segline.files import whole
from segline.provenance import commit

WHEELS = (
    "albucore",
    "albumentations",
    "annotated-types",
    "pycocotools",
    "pydantic",
    "pydantic_core",
    "ruamel.yaml",
    "segmentation_models_pytorch",
    "simsimd",
    "stringzilla",
    "typing-inspection",
    "typing_extensions",
)
"""Carried in the versions of constraints.txt. Expected there: torch, torchvision, lightning, timm, onnx, onnxruntime, onnxscript, numpy, scipy, opencv, pillow,
matplotlib, filelock, rich, typer, tifffile."""

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64")

_CODE = ("src", "benchmarks/gpu", "benchmarks/results.py", "constraints.txt")
_IMAGES = (".jpg", ".jpeg", ".png")


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu/bundle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("to", type=Path, help="folder to be made; an earlier bundle there is replaced")
    parser.add_argument("--data", type=Path, help="folder with camvid/ and PennFudanPed/; either may be missing")
    parser.add_argument("--weights", type=Path, help="state dict of an encoder")
    parser.add_argument("--quality", type=int, default=85, help="of the JPEGs, 1 to 95 (default %(default)s)")
    parser.add_argument("--mib", type=float, default=64.0, help="largest size in all (default %(default)s)")
    parser.add_argument("--python", default="3.12", help="version of the Python there (default %(default)s)")
    parser.add_argument("--no-wheels", action="store_true", help="that Python has everything")
    asked = parser.parse_args()
    with told_in_sentences():
        _refuse_what_is_not_there(asked.to, asked.data, asked.weights)
        with whole(asked.to.resolve()) as folder:
            _copy_code(folder / "code")
            if not asked.no_wheels:
                _download_wheels(folder / "wheels", asked.python)
            if asked.data is not None:
                _copy_data(asked.data, folder / "data", asked.quality)
            if asked.weights is not None:
                (folder / "weights").mkdir()
                shutil.copyfile(asked.weights, folder / "weights" / "encoder.pth")
            sizes = {part.name: sum(file.stat().st_size for file in part.rglob("*") if file.is_file()) for part in sorted(folder.iterdir())}
            _refuse_what_is_too_large(sizes, asked.mib)
            (folder / "bundle.json").write_text(json.dumps({"version": 1, "commit": commit(ROOT), "python": asked.python, "bytes": sizes}, indent=2) + "\n")
    print(f"{asked.to}: {_told(sizes)}, {sum(sizes.values()) / 2**20:.1f} MiB in all. There:")
    print(f"  python3 -m pip install --no-index --no-deps --target site {asked.to.name}/wheels/*.whl")
    print(f"  PYTHONPATH=site python3 {asked.to.name}/code/benchmarks/gpu/run --out results")
    return 0


def _refuse_what_is_not_there(to: Path, data: Path | None, weights: Path | None) -> None:
    problems = []
    if to.exists() and not (to / "bundle.json").is_file():
        problems.append(f"{to} is there and no bundle; give the name of a new folder.")
    if data is not None and not any((data / name).is_dir() for name in ("camvid", "PennFudanPed")):
        problems.append(f"--data: {data} holds neither camvid/ nor PennFudanPed/; give the folder that does, or leave the option out.")
    if weights is not None and not weights.is_file():
        problems.append(f"--weights: there is no file {weights}; give a state dict, or leave the option out.")
    if problems:
        raise DataError(*problems)


def _refuse_what_is_too_large(sizes: dict[str, int], mib: float) -> None:
    total = sum(sizes.values())
    if total > mib * 2**20:
        raise DataError(
            f"The bundle would have {total / 2**20:.1f} MiB, and {mib:g} are allowed ({_told(sizes)}). "
            "Lower --quality, leave out --weights or a data set, or allow more with --mib."
        )


def _told(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in sizes.items())


def _copy_code(target: Path) -> None:
    for name in _CODE:
        source, copy = ROOT / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            shutil.copy2(source, copy)
        else:
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))


def _download_wheels(target: Path, python: str) -> None:
    """By the versions of constraints.txt; pip fetches nothing else."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(target)]
    command += ["--python-version", python, "--implementation", "cp", *(word for platform in PLATFORMS for word in ("--platform", platform))]
    done = subprocess.run([*command, *_pinned()], capture_output=True, text=True, check=False)
    if done.returncode:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), done.stderr[-300:])
        raise DataError(f"pip cannot fetch the wheels for Python {python} ({last}). Check the network, or give --no-wheels.")


def _pinned() -> Iterator[str]:
    def key(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    lines = [line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line and not line.startswith("#")]
    versions = {key(name): version for name, version in (line.split("==") for line in lines)}
    for name in WHEELS:
        yield f"{name}=={versions[key(name)]}"


def _copy_data(source: Path, target: Path, quality: int) -> None:
    """Photographs become JPEG; masks, lists and all else stay as they are. Penn-Fudan's masks are named after the images, whatever their kind."""
    if (source / "camvid").is_dir():
        for file in _files(source / "camvid"):
            copy = target / "camvid" / file.relative_to(source / "camvid")
            if file.suffix == ".txt":
                _copy(file, copy, file.read_text().replace(".png trainannot", ".jpg trainannot").replace(".png valannot", ".jpg valannot"))
            elif file.parent.name.endswith("annot"):
                _copy(file, copy)
            else:
                _photograph(file, copy, quality)
    if (source / "PennFudanPed").is_dir():
        for file in _files(source / "PennFudanPed"):
            copy = target / "PennFudanPed" / file.relative_to(source / "PennFudanPed")
            if file.parent.name == "PNGImages":
                _photograph(file, copy, quality)
            elif file.parent.name == "PedMasks":
                _copy(file, copy)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and (file.suffix.lower() in _IMAGES or file.suffix == ".txt"))


def _copy(file: Path, copy: Path, text: str | None = None) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        shutil.copyfile(file, copy)
    else:
        copy.write_text(text)


def _photograph(file: Path, copy: Path, quality: int) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(file) as image:
        image.convert("RGB").save(copy.with_suffix(".jpg"), quality=quality)
