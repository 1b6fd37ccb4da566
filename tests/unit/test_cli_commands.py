"""`segline` as a user calls it: in processes of their own, with exit codes, in and outside a checkout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from model_parts import checkout, fresh_store, model_folder, ramps
from PIL import Image

from segline import registry
from segline.cli import main
from segline.data.formats.catalog import FORMATS
from segline.data.store import PreparedDataset
from segline.files import write_json
from segline.layout import ModelFolder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with its own store, entered."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = checkout(tmp_path / "checkout", {"at_least": 0.9, "not_worse_by": 0.05})
    fresh_store(folder)
    monkeypatch.chdir(folder)
    return folder


def store(root: Path) -> str:
    return f"sqlite:///{root / 'mlflow.db'}"


def register(root: Path, threshold: float = 127.5) -> ModelFolder:
    folder = model_folder(root / "models" / "unet", threshold=threshold)
    write_json(folder.receipt, registry.register(store=store(root), folder=folder).to_dict())
    return folder


class Told:
    """What one call of `segline` said, and its exit code."""

    def __init__(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capfd, self.monkeypatch = capfd, monkeypatch

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self.capfd.readouterr()
        self.monkeypatch.setattr(sys, "argv", ["segline", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = self.capfd.readouterr()
        assert "Traceback" not in err
        return int(left.value.code or 0), out, err


@pytest.fixture
def segline(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(capfd, monkeypatch)


def test_promote_by_either_name_tells_its_gates(root: Path, segline: Told) -> None:
    register(root)
    code, out, _ = segline("promote", "unet", "--to", "staging")
    assert code == 0
    assert "miou at least" in out and "0.9" in out and "1.0000" in out and "ramps-unet version 1 is staging now" in out
    code, out, _ = segline("promote", "ramps-unet", "--to", "staging")
    assert (code, out) == (0, "ramps-unet version 1 holds 'staging' already; nothing was changed.\n")
    register(root, 64)
    code, out, err = segline("promote", "unet", "--to", "staging")
    assert code == 1
    assert "FAILS" in out
    assert err.startswith("Not promoted, nothing was changed. miou at least: wanted 0.9, found 0.58")
    assert "miou not worse: wanted 0.9500 (version 1: 1.0000 − 0.05), found 0.58" in err
    code, out, err = segline("promote", "unet", "--to", "staging", "--force")
    assert code == 2 and "--force needs --reason" in err
    code, out, _ = segline("promote", "unet", "--to", "staging", "--force", "--reason", "a trial")
    assert code == 0 and "version 2 is staging now in place of version 1. Forced, though miou at least" in out
    code, out, _ = segline("rollback", "unet", "--from", "staging")
    assert (code, out) == (0, "ramps-unet: 'staging' goes back from version 2 to version 1.\n")
    code, _, err = segline("rollback", "unet", "--from", "staging")
    assert code == 2 and "none to go back to" in err


def test_promote_tells_when_the_candidate_is_not_the_workspaces_model(root: Path, segline: Told) -> None:
    folder = register(root)
    assert "not the model of this workspace" not in segline("promote", "unet", "--to", "staging")[1]
    other = model_folder(root / "elsewhere" / "unet", threshold=126)  # as a colleague's, in the same registry
    registry.register(store=store(root), folder=other)
    code, out, _ = segline("promote", "unet", "--to", "staging")
    assert code == 0
    assert "The candidate, version 2, is not the model of this workspace, which is version 1; `dvc repro -f -s register@unet` makes that the" in out
    registry.register(store=store(root), folder=folder)
    assert "not the model of this workspace" not in segline("promote", "unet", "--to", "staging")[1]


def test_promote_tells_how_many_images_took_no_part(root: Path, segline: Told) -> None:
    learnt = PreparedDataset(root / "data" / "prepared").split("test", ["index"]).hashes()[0]
    folder = model_folder(root / "models" / "unet", trained_on=[learnt])
    write_json(folder.receipt, registry.register(store=store(root), folder=folder).to_dict())
    code, out, _ = segline("promote", "unet", "--to", "staging")
    assert code == 0 and "1 of 3 images are left out: the version has learnt from them." in out


def test_a_name_that_is_not_there_lists_what_is(root: Path, segline: Told) -> None:
    code, _, err = segline("promote", "unet", "--to", "staging")
    assert code == 2 and "has no model 'ramps-unet'; it is empty" in err
    register(root)
    code, _, err = segline("promote", "unett", "--to", "staging")
    assert code == 2 and "has no model 'unett'; it has ramps-unet." in err
    assert segline("promote", "unet", "--to", "heaven")[0] == 2
    assert segline("promote", "unet", "--to", "staging", "--version", "0")[0] == 2


def test_models_shows_versions_aliases_and_metrics(root: Path, segline: Told) -> None:
    assert "registry is empty" in segline("models")[1]
    register(root)
    segline("promote", "unet", "--to", "staging")
    register(root, 126)
    code, out, _ = segline("models")
    assert code == 0
    rows = [line for line in out.splitlines() if "ramps-unet" in line]
    assert "candidate" in rows[0] and "miou 0.9000" in rows[0] and "passed" in rows[0] and "5.0 ms" in rows[0]
    assert "staging" in rows[1]
    assert segline("models", "unet")[1] == out
    code, _, err = segline("models", "nothing")
    assert code == 2 and "it has ramps-unet" in err


def test_status_tells_what_is_off_and_sync_puts_it_right(root: Path, segline: Told) -> None:
    assert "no trained model yet" in segline("status")[1]
    folder = register(root)
    code, out, _ = segline("status")
    assert code == 0 and "in order" in out
    first = {file: file.read_bytes() for file in folder.path.iterdir()}
    register(root, 126)
    for file, content in first.items():  # as `dvc checkout` of an earlier commit does
        file.write_bytes(content)
    code, out, _ = segline("status")
    assert code == 1 and "candidate is version 2, this folder holds version 1" in out and "dvc repro -f -s register@unet" in out
    fresh_store(root)
    code, out, _ = segline("status")
    assert code == 1 and "lacks its run" in out and "no version with its content" in out and "segline sync" in out
    code, out, _ = segline("sync")
    assert code == 0 and "ramps-unet version 1 is registered, and candidate." in out
    assert segline("status")[0] == 0
    folder.receipt.unlink()
    code, out, _ = segline("status")
    assert code == 1 and "no receipt" in out


def test_predict_takes_a_folder_a_file_a_name_and_an_address(root: Path, segline: Told, tmp_path: Path) -> None:
    folder = register(root)
    image = ramps(tmp_path) / "images" / "ramp0.png"
    masks = []
    for i, model in enumerate((str(folder.path), str(folder.onnx), "unet", "models:/ramps-unet@candidate", "models:/ramps-unet/1")):
        out = tmp_path / f"out{i}"
        code, told, _ = segline("predict", str(image), "--model", model, "--out", str(out))
        assert (code, told) == (0, f"1 image predicted into {out}.\n")
        masks.append(np.asarray(Image.open(out / "masks" / "ramp0.png")))
        assert (out / "overlays" / "ramp0.png").is_file()
    for mask in masks:
        np.testing.assert_array_equal(mask, np.asarray(Image.open(tmp_path / "masks" / "ramp0.png")))


def test_predict_tells_mistakes(root: Path, segline: Told, tmp_path: Path) -> None:
    folder = register(root)
    image = str(ramps(tmp_path) / "images" / "ramp0.png")
    taken = tmp_path / "taken"
    taken.write_text("a file")
    (root / "models" / "empty").mkdir()
    for arguments, sentence in [
        (("nowhere.png", "--model", "unet", "--out", "o"), "nowhere.png does not exist"),
        ((image, "--model", "vnet", "--out", "o"), "There is no model 'vnet'"),
        ((image, "--model", "models:/ramps-unet@production", "--out", "o"), "no version with the alias 'production'"),
        ((image, "--model", "models:ramps", "--out", "o"), "no address of a registered model"),
        ((image, "--model", "empty", "--out", "o"), "holds no model.onnx"),
        ((image, "--model", str(folder.card), "--out", "o"), "not a readable ONNX model"),
        ((image, "--model", "unet", "--out", str(taken)), "cannot be written to"),
    ]:
        code, _, err = segline("predict", *arguments)
        assert code == 2 and sentence in err, arguments


def test_help_version_and_usage(segline: Told) -> None:
    assert segline("--help")[0] == 0
    assert segline("--version")[1].startswith("segline 0.")
    assert segline("promot")[0] == 2
    assert segline("predict")[0] == 2


def annotated(target: Path) -> Path:
    """The ramps as a folder in CamVid's layout."""
    made = ramps(target.parent / "ramps")
    for name, source in (("val", "images"), ("valannot", "masks")):
        (target / name).mkdir(parents=True)
        for file in (made / source).iterdir():
            (target / name / file.name).write_bytes(file.read_bytes())
    return target


def test_evaluate_scores_any_annotated_folder(root: Path, segline: Told, tmp_path: Path) -> None:
    register(root)
    folder = str(annotated(tmp_path / "own"))
    for model in ("unet", "models:/ramps-unet@candidate"):
        code, out, _ = segline("evaluate", model, "--root", folder, "--format", "camvid", "--out", str(tmp_path / "figures.json"))
        assert code == 0 and "on 3 images" in out and "miou" in out
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert (figures["miou"], figures["images"], figures["iou/bright"]) == (1.0, 3, 1.0)
    code, out, _ = segline("evaluate", "unet", "--root", folder, "--format", "camvid", "--classes", "dark, bright")
    assert code == 0
    for arguments, sentence in [
        (("--root", "nowhere", "--format", "camvid"), "The folder nowhere does not exist"),
        (("--root", folder, "--format", "camwid"), "There is no format 'camwid'"),
        (("--root", folder, "--format", "camvid", "--classes", "cat,dog"), "no name in common"),
    ]:
        code, _, err = segline("evaluate", "unet", *arguments)
        assert code == 2 and sentence in err


def test_evaluate_gives_a_format_its_own_settings(root: Path, segline: Told, tmp_path: Path) -> None:
    register(root)
    folder = str(annotated(tmp_path / "own"))
    figures = tmp_path / "figures.json"
    code, _, err = segline("evaluate", "unet", "--root", folder, "--format", "camvid", "--set", "classes=[dark]", "--ignore", "1", "--out", str(figures))
    assert code == 0, err
    assert "iou/bright" not in json.loads(figures.read_text())
    for arguments, sentence in [
        (("coco", "--ignore", "3"), "The format 'coco' has no setting 'ignore' to give on the command line; it has "),
        (("camvid", "--set", "source=elsewhere"), "has no setting 'source'"),
        (("camvid", "--set", "ignore=[one]"), "--format camvid: ignore"),
        (("camvid", "--set", "ignore"), "write KEY=VALUE"),
        (("camvid", "--set", "classes=[a"), "is no value that params.yaml could hold"),
    ]:
        code, _, err = segline("evaluate", "unet", "--root", folder, "--format", *arguments)
        assert code == 2 and sentence in err, (arguments, err)


def test_help_lists_the_formats_of_the_catalogue(segline: Told) -> None:
    code, out, _ = segline("evaluate", "--help")
    words = set(out.replace(",", " ").replace(".", " ").split())
    assert code == 0 and set(FORMATS) <= words


def test_store_prints_the_address_alone(root: Path, segline: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert segline("store")[:2] == (0, f"{store(root)}\n")
    monkeypatch.chdir(tmp_path)
    code, out, err = segline("store")
    assert (code, out) == (2, "") and "not inside a Segline checkout" in err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert segline("store")[:2] == (0, "http://127.0.0.1:1\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://u:s3c@ret@127.0.0.1:1")
    code, out, err = segline("store")
    assert (code, out) == (0, "http://127.0.0.1:1\n") and "`segline store -- COMMAND`" in err
    asks = "import os, sys; sys.exit(os.environ['MLFLOW_BACKEND_STORE_URI'] == os.environ['MLFLOW_TRACKING_URI'] == sys.argv[1])"
    itself = [sys.executable, "-c", "from segline.cli import main; main()"]  # the command takes the place of the process
    assert subprocess.run([*itself, "store", "--", sys.executable, "-c", asks, "http://u:s3c@ret@127.0.0.1:1"]).returncode == 1
    code, _, err = segline("store", "--", "no-such-command")
    assert code == 2 and "'no-such-command' cannot be run" in err
