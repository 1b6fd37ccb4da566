"""The stage `params` by its real entry point, and what DVC needs of params.yaml beyond its being valid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TinyCheckout

from segline import conveyor
from segline.errors import ParametersError

ROOT = Path(__file__).resolve().parents[2]
NAMED = ("seed", "data.root", "data.image_size", "models", "evaluate", "export")

PARAMS = """\
seed: 0
data:
  root: images
  image_size: [64, 64]
models:
  unet: {task: semantic}
evaluate: {overlays: 1}
export: {opset: 18}
"""


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A valid params.yaml with its data folder."""
    (tmp_path / "images").mkdir()
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS)
    return file


def _problems(params: Path, *, main: Path | None = None) -> tuple[str, ...]:
    outputs = [params.parent / "data" / "raw", params.parent / "models"]
    with pytest.raises(ParametersError) as told:
        conveyor.check(params, named=NAMED, outputs=outputs, main=main or params.parent)
    return told.value.problems


def test_valid_params_pass(params: Path) -> None:
    conveyor.check(params, named=NAMED, outputs=[params.parent / "models"], main=params.parent)


def test_every_key_that_dvc_names_must_be_written_out(params: Path) -> None:
    params.write_text("data:\n  dataset: shapes\nmodels:\n  unet: {task: semantic}\n")
    told = _problems(params)
    assert told[0] == "params.yaml: seed is missing; DVC knows no defaults, so write it out: `seed: 0`."
    assert "params.yaml: data.root is missing; DVC knows no defaults, so write it out: `root: data/own`." in told
    assert [sentence.split()[1] for sentence in told[:5]] == ["seed", "data.root", "data.image_size", "evaluate", "export"]


@pytest.mark.parametrize(
    ("root", "sentence"),
    [
        ("nowhere", "data.root: the folder 'nowhere' does not exist"),
        ("~/images", f"data.root: DVC does not expand '~'; write '{Path.home() / 'images'}'"),
        (".", "data.root is '.', which is or holds a folder that the line writes (data/raw)"),
        ("''", "data.root is '', which is or holds a folder"),
        ("models/unet", "data.root is 'models/unet', which is or holds a folder that the line writes (models)"),
        ("data/raw/", "which is or holds a folder that the line writes (data/raw)"),
    ],
)
def test_data_roots_that_dvc_cannot_watch(params: Path, root: str, sentence: str) -> None:
    params.write_text(PARAMS.replace("root: images", f"root: {root}"))
    [told] = _problems(params)
    assert sentence in told


def test_a_relative_root_outside_the_checkout_means_another_folder_in_a_copy(params: Path, tmp_path: Path) -> None:
    main = tmp_path / "main"
    params.write_text(PARAMS.replace("root: images", "root: ../images"))
    [told] = _problems(params, main=main)
    assert f"'{tmp_path / 'images'}'" in told


def test_by_hand(tiny_checkout: TinyCheckout) -> None:
    assert tiny_checkout.run("python", "pipeline/params.py").stdout == ""
    assert (tiny_checkout.root / "data" / "params.valid").read_text() == "params.yaml is valid\n"
    tiny_checkout.edit("seed: 0", "sed: 0")
    done = tiny_checkout.run("python", "pipeline/params.py", check=False)
    assert done.returncode == 2
    assert done.stdout == "error: params.yaml: sed is no known key; did you mean 'seed'?\n"


def test_the_shipped_file_suits_dvc() -> None:
    outputs = [ROOT / "data" / "raw", ROOT / "data" / "prepared", ROOT / "models"]
    conveyor.check(ROOT / "params.yaml", named=NAMED, outputs=outputs, main=ROOT)


def test_a_python_without_the_packages_is_told() -> None:
    done = subprocess.run([sys.executable, "-S", "-E", ROOT / "pipeline" / "params.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Activate the environment" in done.stderr
    assert "Traceback" not in done.stderr
