"""The leaderboard: what model folders say of worth and cost, in order, with what is missing told; as text, JSON, CSV and picture."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_parts import checkout, evaluated, fresh_store, model_folder
from PIL import Image

from segline import tracking
from segline.cli import main
from segline.errors import ModelError
from segline.layout import ModelFolder
from segline.leaderboard.board import Board, board
from segline.leaderboard.standing import standing
from segline.leaderboard.tables import write_table
from segline.metrics.intervals import Resampling
from segline.status import model_folders

COST = {"parameters": 14_328_789, "multiply_adds": 1_019_215_872, "memory_bytes": 62_240_092, "latency": {"median_ms": 27.3, "threads": 2}}
LICENCES = {"code": "MIT (segmentation_models_pytorch)", "weights": "none needed: trained from scratch"}


def exported(folder: ModelFolder, **latency: Any) -> None:
    """What `export` adds to the proof that the folder has."""
    proof = json.loads(folder.parity.read_text())
    proof["latency"] |= {"image_size": [32, 256], "threads": 2, **latency}
    folder.parity.write_text(json.dumps(proof | {"cost": COST, "licences": LICENCES, "onnx_bytes": 62_365_663}))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with three models: the best one slow, a second one fast, and one that was trained alone."""
    folder = checkout(tmp_path / "checkout")
    for name, threshold, latency in (("slow", 127.5, 30.0), ("fast", 100.0, 3.0)):
        exported(evaluated(model_folder(folder / "models" / name, threshold=threshold, latency_ms=latency), folder / "data" / "prepared"))
    bare = model_folder(folder / "models" / "bare")
    bare.metrics.unlink()
    bare.parity.unlink()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def segline(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["segline", "leaderboard", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return int(left.value.code or 0), out, err

    return call


def of(root: Path, metric: str | None = None) -> Board:
    return board(model_folders(root / "models"), metric=metric, resampling=Resampling(200))


def test_a_line_holds_what_the_folder_says(root: Path) -> None:
    found = standing(ModelFolder(root / "models" / "slow"))
    assert (found.arch, found.encoder, found.metric, found.value, found.images, found.low) == ("unet", None, "miou", 1.0, 3, 1.0)
    assert (found.parameters, found.multiply_adds, found.onnx_bytes, found.memory_bytes) == (14_328_789, 1_019_215_872, 62_365_663, 62_240_092)
    assert (found.torch_ms, found.onnx_ms, found.image_size, found.threads, found.training_s) == (27.3, 30.0, (32, 256), (2, 2), 1.0)
    assert (found.code_licence, found.weights_licence, found.data_licence, found.lacking) == (*LICENCES.values(), "none", ())


def test_the_best_comes_first_and_the_others_are_behind_it(root: Path) -> None:
    best, other = of(root).groups
    assert [(place.standing.model, place.behind is None) for place in best.places] == [("slow", True), ("fast", False)]
    behind = best.places[1].behind
    assert behind is not None and behind.difference == pytest.approx(1 - (best.places[1].standing.value or 0)) and best.places[1].shown
    assert [place.standing.model for place in other.places] == ["bare"] and other.title == "miou: not scored yet"


def test_what_is_missing_is_told_with_what_to_run(root: Path) -> None:
    assert of(root).notes == (
        "bare has no figures: run `dvc repro evaluate@bare`.",
        "bare lacks costs or licences: run `dvc repro export@bare`.",
    )


def test_times_that_were_not_taken_alike_are_told(root: Path) -> None:
    exported(ModelFolder(root / "models" / "fast"), threads=1)
    assert any("fast" in note and "different numbers of threads or image sizes; `dvc repro -f -s export@slow export@fast`" in note for note in of(root).notes)


def test_a_model_whose_counts_are_gone_keeps_its_figure(root: Path) -> None:
    (root / "models" / "fast" / "counts.npz").unlink()
    place = of(root).groups[0].places[1]
    assert place.standing.value is not None and place.behind is None and not place.shown


def test_models_of_other_images_stand_in_a_table_of_their_own(root: Path) -> None:
    metrics = root / "models" / "fast" / "metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"split_hash": "b" * 64}))
    found = of(root)
    assert [[place.standing.model for place in group.places] for group in found.groups] == [["bare"], ["fast"], ["slow"]]
    assert any("stand in different tables" in note for note in found.notes)


def test_another_figure_decides(root: Path) -> None:
    group = of(root, "iou/bright").groups[0]
    assert [place.standing.model for place in group.places] == ["slow", "fast"] and group.title == "iou/bright on 3 images of test"
    with pytest.raises(ModelError, match=r"No model here has a figure 'mious'. Did you mean miou"):
        of(root, "mious")
    metrics = root / "models" / "fast" / "metrics.json"
    metrics.write_text(json.dumps({key: value for key, value in json.loads(metrics.read_text()).items() if key != "iou/bright"}))
    found = of(root, "iou/bright")
    assert sorted(place.standing.model for group in found.groups for place in group.places) == ["bare", "slow"]
    assert found.notes[0] == "Left out, as there is no iou/bright of it: fast."


def test_of_an_error_the_smallest_figure_comes_first(root: Path) -> None:
    for name, error in (("slow", 0.25), ("fast", 0.125)):
        file = root / "models" / name / "metrics.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"pixel_error": error}))
    assert [(place.standing.model, place.standing.value) for place in of(root, "pixel_error").groups[0].places] == [("fast", 0.125), ("slow", 0.25)]


def test_the_table_holds_everything(root: Path, tmp_path: Path) -> None:
    write_table(of(root), tmp_path / "l.csv")
    with (tmp_path / "l.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["place"], row["model"], row["onnx_ms"], row["torch_threads"], row["image_width"]) for row in rows] == [
        ("1", "slow", "30.0", "2", "256"),
        ("2", "fast", "3.0", "2", "256"),
        ("", "bare", "", "", ""),
    ]
    assert float(rows[1]["behind_low"]) <= float(rows[1]["behind"]) <= float(rows[1]["behind_high"])


def test_the_command(root: Path, segline: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = segline("--csv", "l.csv", "--picture", "l.png")
    assert code == 0 and "miou on 3 images of test" in out
    assert all(word in out for word in ("14.3 M", "1.02 G", "62.4 MB", "62.2 MB", "27.3 ms", "30.0 ms", "MIT (segmentation_models_pytorch)", "not evaluated"))
    with Image.open(root / "l.png") as picture:
        assert picture.width > 300
    code, out, _ = segline("--json")
    values = json.loads(out)
    assert values["version"] == 1 and values["groups"][0]["models"][1]["behind"]["shown"] is True


@pytest.mark.slow
def test_it_is_kept_in_one_run_of_the_data_set(root: Path, segline: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = fresh_store(root)
    for _ in range(2):
        code, out, err = segline("--log", "--json")
        assert code == 0 and json.loads(out)["groups"] and "experiment 'ramps', run " in err
    client = tracking.connect(store)
    [run] = client.search_runs([tracking.experiment_id(client, "ramps")])
    assert run.info.run_id in err and run.info.status == "FINISHED"
    assert [artifact.path for artifact in client.list_artifacts(run.info.run_id)] == ["leaderboard.csv", "leaderboard.json", "leaderboard.png"]


def test_a_folder_that_cannot_be_read_does_not_hide_the_others(root: Path, segline: Callable[..., tuple[int, str, str]]) -> None:
    (root / "models" / "bare" / "model.json").write_text("{")
    (root / "models" / "fast" / "parity.json").write_text('{"cost": 3, "licences": [], "latency": {"median_ms": "x", "image_size": [1]}}')
    code, out, err = segline()
    assert code == 2 and "slow" in out and "fast lacks costs or licences" in out and "bare/model.json cannot be read" in err


@pytest.mark.parametrize(("arguments", "sentence"), [(("--csv", "models"), "is a folder; give --csv"), (("--picture", "dvc.yaml/x.png"), "give --picture a")])
@pytest.mark.usefixtures("root")
def test_mistakes(arguments: tuple[str, ...], sentence: str, segline: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = segline(*arguments)
    assert code == 2 and sentence in err


def test_an_empty_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segline: Callable[..., tuple[int, str, str]]) -> None:
    monkeypatch.chdir(checkout(tmp_path / "empty"))
    code, _, err = segline()
    assert code == 2 and "There is no trained model here; run `dvc repro` first." in err
