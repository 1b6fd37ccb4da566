"""`segline` imports no torch: each verb runs in a process in which that is impossible, and help without any heavy package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from model_parts import CLASSES, checkout, evaluated, fresh_store, instance_onnx, model_folder, ramps
from PIL import Image
from typer.main import get_command

from segline import registry
from segline.cli.app import app
from segline.files import write_json

TORCH = ("torch", "torchvision", "lightning", "segmentation_models_pytorch", "timm", "albumentations")
HEAVY = (*TORCH, "mlflow", "matplotlib", "cv2", "onnx", "onnxruntime")
VERBS = sorted(get_command(app).commands)  # type: ignore[attr-defined]

PROGRAM = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise AssertionError("imports " + name)
sys.meta_path.insert(0, Blocked())
from segline.cli import main
main()
"""

TELLING = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from segline.cli import main
main()
"""
OF_ANOTHER_MLFLOW = "from segline.tracking import tables\ntables.REVISION = 'another'"
"""What makes a program ask MLflow."""

NOT_FOR_QUESTIONS = (
    "matplotlib",
    "cv2",
    "onnx",
    "onnxruntime",
    "dvc",
    "mlflow.server",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "uvicorn",
    "pandas",
    "scipy",
    "pyarrow",
    "pygments",
)


def without(blocked: tuple[str, ...], *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`segline` in a process that must not import some packages."""
    program = PROGRAM.format(blocked=blocked)
    settings = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | environment
    return subprocess.run([sys.executable, "-c", program, *arguments], cwd=cwd, env=settings, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a store and one registered semantic model."""
    root = checkout(tmp_path_factory.mktemp("light") / "checkout", {"at_least": 0.9})
    store = fresh_store(root)
    folder = model_folder(root / "models" / "unet")
    write_json(folder.receipt, registry.register(store=store, folder=folder).to_dict())
    return root


@pytest.fixture(scope="module")
def images(root: Path) -> Path:
    return ramps(root.parent / "ramps") / "images"


@pytest.mark.parametrize("verb", [(), *((verb,) for verb in VERBS)], ids=str)
def test_help_imports_nothing_heavy(verb: tuple[str, ...], tmp_path: Path) -> None:
    done = without(HEAVY, *verb, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    if not verb:
        assert without((*HEAVY, "numpy", "pydantic", "PIL"), "--help", cwd=tmp_path).stdout == done.stdout


@pytest.mark.parametrize("command", ["models", "status", "store", "promote unet --to staging"])
def test_registry_verbs(command: str, root: Path) -> None:
    done = without(TORCH, *command.split(), cwd=root)
    # `status` ends with 1 where something is off: the fixture has no run for its model, or an alias was moved by hand.
    assert done.returncode == 0 or (command == "status" and done.returncode == 1), done.stderr
    assert "AssertionError" not in done.stderr and ("ramps-unet" in done.stdout or command == "store")


@pytest.mark.parametrize("verb", ["models", "status"])
def test_what_asks_the_registry_imports_no_more_of_mlflow_than_it_needs(verb: str, root: Path) -> None:
    """Of a local store nothing, where MLflow must be asked about half."""
    settings = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    asking = f"{OF_ANOTHER_MLFLOW}\n{TELLING}"
    done, asked = (
        subprocess.run([sys.executable, "-c", program, verb], cwd=root, env=settings, capture_output=True, text=True, check=False)
        for program in (TELLING, asking)
    )
    assert "ramps-unet" in done.stdout, done.stderr
    assert (asked.stdout, asked.returncode) == (done.stdout, done.returncode)
    assert set(json.loads(done.stderr.splitlines()[-1])).isdisjoint((*TORCH, *NOT_FOR_QUESTIONS, "mlflow", "sqlalchemy"))
    imported = set(json.loads(asked.stderr.splitlines()[-1]))
    assert "mlflow.store.model_registry.sqlalchemy_store" in imported
    assert imported.isdisjoint((*TORCH, *NOT_FOR_QUESTIONS))


def test_an_mlflow_that_cannot_do_without_is_imported_whole(root: Path) -> None:
    """As a later one might: today's cannot do without SQLAlchemy, which it is refused at first."""
    settings = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    program = f"{OF_ANOTHER_MLFLOW}\nfrom segline.tracking import quick\nquick.NOT_NEEDED = ('sqlalchemy',)\n{TELLING}"
    done = subprocess.run([sys.executable, "-c", program, "models"], cwd=root, env=settings, capture_output=True, text=True, check=False)
    assert "ramps-unet" in done.stdout, done.stderr
    assert "pandas" in json.loads(done.stderr.splitlines()[-1])


def test_compare_and_leaderboard_need_no_mlflow_either(root: Path, tmp_path: Path) -> None:
    for name, threshold in (("one", 127.5), ("other", 100.0)):
        evaluated(model_folder(root / "models" / name, threshold=threshold), root / "data" / "prepared")
    done = without((*TORCH, "mlflow"), "compare", "one", "other", "--json", "--picture", str(tmp_path / "p.png"), cwd=root)
    assert done.returncode == 0 and json.loads(done.stdout)["rows"][0]["first"] == 1.0, done.stderr
    done = without((*TORCH, "mlflow"), "leaderboard", "--json", "--picture", str(tmp_path / "l.png"), "--csv", str(tmp_path / "l.csv"), cwd=root)
    assert done.returncode == 0 and {"one", "other"} <= {one["model"] for group in json.loads(done.stdout)["groups"] for one in group["models"]}, done.stderr


def test_predict_from_files_needs_no_mlflow_either(root: Path, images: Path, tmp_path: Path) -> None:
    instance_onnx(tmp_path / "found.onnx")
    for model in (root / "models" / "unet", tmp_path / "found.onnx"):
        done = without((*TORCH, "mlflow"), "predict", str(images), "--model", str(model), "--out", str(tmp_path / "out"), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(results) == 6 and {"image_id", "category_id", "score", "bbox", "segmentation"} <= set(results[0])


def test_predict_from_an_address_works_outside_a_checkout(root: Path, images: Path, tmp_path: Path) -> None:
    arguments = ("predict", str(images / "ramp0.png"), "--model", "models:/ramps-unet@candidate", "--out", str(tmp_path / "out"))
    done = without(TORCH, *arguments, cwd=tmp_path, MLFLOW_TRACKING_URI=f"sqlite:///{root / 'mlflow.db'}")
    assert done.returncode == 0, done.stderr
    done = without(TORCH, *arguments, cwd=tmp_path)
    assert done.returncode == 2 and "not inside a Segline checkout" in done.stderr and "MLFLOW_TRACKING_URI" in done.stderr


def test_evaluate_semantic(root: Path, images: Path, tmp_path: Path) -> None:
    for name, source in (("val", "images"), ("valannot", "masks")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for file in (images.parent / source).iterdir():
            (tmp_path / "own" / name / file.name).write_bytes(file.read_bytes())
    done = without((*TORCH, "mlflow"), "evaluate", str(root / "models" / "unet"), "--root", "own", "--format", "camvid", "--out", "f.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "f.json").read_text())["miou"] == 1.0


def test_evaluate_instance(tmp_path: Path) -> None:
    instance_onnx(tmp_path / "found.onnx")
    truth = np.zeros((24, 24), np.uint8)
    truth[3:13, 2:10] = 1
    truth[5:15, 10:20] = 2
    for folder, name, pixels in (("PNGImages", "a.png", np.zeros((24, 24, 3), np.uint8)), ("PedMasks", "a_mask.png", truth)):
        (tmp_path / "own" / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "own" / folder / name)
    arguments = ("evaluate", "found.onnx", "--root", "own", "--format", "pennfudan", "--classes", ",".join(CLASSES), "--out", "f.json")
    done = without((*TORCH, "mlflow"), *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "f.json").read_text())["mask_ap50"] == pytest.approx(1)
