"""The run is what the model folder says, whatever happened before, and nothing is in it twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tracking_parts import METRICS, Training, card, contents, run_of, trained

from segline import tracking
from segline.card import ModelCard
from segline.errors import ModelError, TrackingError
from segline.layout import CheckFolder, ModelFolder

STARTED: dict[str, object] = {"training": {}}
"""What is different on the card of a training that has not ended."""


def folder(models: Path, card: ModelCard) -> ModelFolder:
    """As train, evaluate and export leave it; the second epoch has no validation."""
    made = trained(models, card)
    made.history.write_text("epoch,train_loss,val_miou\n1,0.9,0.3\n2,0.7,\n3,0.5,0.6\n")
    made.metrics.write_text(json.dumps(METRICS))
    parity = {"version": 1, "passed": True, "difference": 0.0001, "latency": {"median_ms": 12.5, "image_size": [64, 80]}}
    made.parity.write_text(json.dumps(parity))
    (made.plots / "worst_1.png").unlink()
    (made.plots / "confusion.csv").write_text("a,b\n")
    (made.plots / "overlays").mkdir()
    (made.plots / "overlays" / "worst_1.png").write_bytes(b"png")
    made.weights.write_bytes(b"weights")
    made.onnx.write_bytes(b"onnx")
    return made


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The making of the tables takes seconds: once is enough."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    tracking.connect(f"sqlite:///{file}")
    return file


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> str:
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    return f"sqlite:///{tmp_path}/mlflow.db"


def test_the_run_holds_what_the_folder_says_and_a_second_call_adds_nothing(store: str, tmp_path: Path) -> None:
    made = folder(tmp_path / "models", card())
    run_id = tracking.record(store, made, strict=True)
    client = tracking.connect(store)
    first = contents(client, run_id)

    assert first["parameters"] == {
        "seed": "3",
        "arch": "unet",
        "input.size": "[64, 80]",
        "train.lr": "0.001",
        "train.clip": "None",
        "augment": '[{"Flip": {"p": 0.5}}]',
    }
    assert first["history"] == {
        "train_loss": [(1, 0.9), (2, 0.7), (3, 0.5)],
        "val_miou": [(1, 0.3), (3, 0.6)],
        "test_miou": [(0, 0.75)],
        "test_images": [(0, 6.0)],
        "test_iou/ball": [(0, 0.5)],
        "parity.passed": [(0, 1.0)],
        "parity.difference": [(0, 0.0001)],
        "parity.latency.median_ms": [(0, 12.5)],
    }
    assert first["files"] == ["history.csv", "metrics.json", "model.json", "parity.json", "plots/confusion.csv", "plots/overlays/worst_1.png"]
    assert (first["name"], first["status"]) == ("unet-brave-fox", "FINISHED")
    assert first["inputs"][0][0] == "shapes"
    expected = {"key": card().key, **card().parts, "commit": "abc-dirty", "experiment": "brave-fox"}
    assert {name: first["tags"][f"segline.{name}"] for name in expected} == expected
    assert first["tags"]["segline.split_hash"] == "cafe"
    assert client.get_experiment(client.get_run(run_id).info.experiment_id).name == "shapes"

    assert tracking.record(store, made) == run_id
    assert contents(client, run_id) == first
    assert [str(done) for done in tracking.sync(store, made.path.parent)] == ["unet: complete"]


def test_the_pages_of_the_data_are_kept_with_the_runs_that_were_trained_on_it(store: str, tmp_path: Path) -> None:
    trained_on = card(plan=card().plan | {"training": {"split": "train", "hash": "cafe"}})
    made, pages = folder(tmp_path / "models", trained_on), CheckFolder(tmp_path / "check")
    pages.path.mkdir()
    pages.page.write_text("<p>what prepare found</p>")
    pages.samples.write_bytes(b"png")
    run_id = tracking.record(store, made, data=tracking.DataPages(pages, "another data set's"), strict=True)
    client = tracking.connect(store)
    assert run_id is not None and "check/check.html" not in contents(client, run_id)["files"]
    data = tracking.DataPages(pages, "cafe")
    tracking.record(store, made, data=data, strict=True)
    assert {"check/check.html", "check/samples.png"} <= set(contents(client, run_id)["files"])
    assert Path(client.download_artifacts(run_id, "check/check.html", str(tmp_path))).read_text() == "<p>what prepare found</p>"
    whole = contents(client, run_id)
    tracking.record(store, made, strict=True)
    tracking.sync(store, made.path.parent)
    assert contents(client, run_id) == whole, "a store that is asked without the data keeps the pages"


def test_the_times_of_a_rebuilt_run_are_those_of_the_training(store: str, tmp_path: Path) -> None:
    made = folder(tmp_path / "models", card())
    info = tracking.connect(store).get_run(tracking.record(store, made, strict=True)).info
    assert info.end_time == int(1000 * made.card.stat().st_mtime)
    assert info.end_time - info.start_time == 30_000


def test_a_new_evaluation_replaces_figures_and_pictures(store: str, tmp_path: Path) -> None:
    made = folder(tmp_path / "models", card())
    run_id = tracking.record(store, made, strict=True)
    made.metrics.write_text(json.dumps(METRICS | {"miou": 0.8}))
    (made.plots / "overlays" / "worst_1.png").rename(made.plots / "overlays" / "worst_2.png")
    tracking.record(store, made, strict=True)
    client = tracking.connect(store)
    assert client.get_run(run_id).data.metrics["test_miou"] == 0.8
    assert [a.path for a in client.list_artifacts(run_id, "plots/overlays")] == ["plots/overlays/worst_2.png"]


def test_figures_of_val_do_not_mix_with_those_of_the_epochs(store: str, tmp_path: Path) -> None:
    made = folder(tmp_path / "models", card())
    made.metrics.write_text(json.dumps(METRICS | {"split": "val"}))
    metrics = tracking.connect(store).get_run(tracking.record(store, made, strict=True)).data.metrics
    assert (metrics["val_miou"], metrics["scored_val_miou"]) == (0.6, 0.75)


def test_the_run_grows_with_the_stages(store: str, tmp_path: Path) -> None:
    made = folder(tmp_path / "models", card())
    metrics, parity = made.metrics.read_text(), made.parity.read_text()
    made.metrics.unlink()
    made.parity.unlink()
    made.plots.rename(tmp_path / "later")
    run_id = tracking.record(store, made, strict=True)
    client = tracking.connect(store)
    assert set(client.get_run(run_id).data.metrics) == {"train_loss", "val_miou"}
    (tmp_path / "later").rename(made.plots)
    made.metrics.write_text(metrics)
    made.parity.write_text(parity)
    assert [str(done) for done in tracking.sync(store, made.path.parent)] == ["unet: run completed, 6 metric values and 3 artifacts added"]
    assert client.get_run(run_id).data.metrics["test_miou"] == 0.75


def test_a_lost_database_is_rebuilt(store: str, tmp_path: Path) -> None:
    models = tmp_path / "models"
    first, second = folder(models, card("unet")), folder(models, card("other"))
    run_ids = [tracking.record(store, made, strict=True) for made in (second, first)]
    before = [contents(tracking.connect(store), run_id) for run_id in run_ids]
    new = f"sqlite:///{tmp_path}/new/mlflow.db"
    assert [(done.model, done.created) for done in tracking.sync(new, models)] == [("other", True), ("unet", True)]
    client = tracking.connect(new)
    again = [run_of(client, card(name)) for name in ("other", "unet")]
    assert [contents(client, str(run_id)) for run_id in again] == before


def test_a_run_deleted_by_hand_is_made_anew_and_the_oldest_of_two_counts(store: str, tmp_path: Path) -> None:
    made = folder(tmp_path / "models", card())
    run_id = tracking.record(store, made, strict=True)
    client = tracking.connect(store)
    experiment = client.get_run(run_id).info.experiment_id
    client.create_run(experiment, start_time=client.get_run(run_id).info.start_time + 1, tags={"segline.key": card().key})
    assert tracking.record(store, made) == run_id
    client.delete_run(run_id)
    assert tracking.record(store, made) != run_id


def test_an_interrupted_training_continues_its_run_and_no_step_is_there_twice(store: str, tmp_path: Path) -> None:
    training = Training(tmp_path / "resume", card(**STARTED))
    first = tracking.LiveRun(store, training.folder)
    training.add({"epoch": 1, "train_loss": 0.9, "val_miou": 0.3})
    first.notify()
    training.add({"epoch": 2, "train_loss": 0.7, "val_miou": float("nan")})
    first.notify()
    first.close("FAILED")
    again = tracking.LiveRun(store, training.folder)
    again.notify()
    training.add({"epoch": 3, "train_loss": 0.5, "val_miou": 0.6})
    again.notify()
    again.close()
    client = tracking.connect(store)
    run_id = run_of(client, card())
    assert run_id is not None
    assert tracking.record(store, folder(tmp_path / "models", card())) == run_id
    history = contents(client, run_id)["history"]
    assert history["train_loss"] == [(1, 0.9), (2, 0.7), (3, 0.5)]
    assert history["val_miou"] == [(1, 0.3), (3, 0.6)]
    assert "epoch" not in history


def test_the_run_ends_as_the_training_does(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segline.tracking.live._INTERRUPTED_S", 60.0)  # on a loaded machine three seconds can be too short
    client = tracking.connect(store)

    def status(model: str) -> str:
        return str(client.get_run(str(run_of(client, card(model)))).info.status)

    def train(model: str, error: type[BaseException] | None = None) -> None:
        training = Training(tmp_path / "resume", card(model, **STARTED))
        with tracking.following(store) as follow:
            notify = follow(training.folder)
            training.add({"epoch": 1, "train_loss": 1.0})
            notify()
            if error:
                raise error

    train("good")
    assert status("good") == "FINISHED"
    with pytest.raises(ZeroDivisionError):
        train("bad", ZeroDivisionError)
    assert status("bad") == "FAILED"
    train("bad")
    assert status("bad") == "FINISHED"
    with pytest.raises(KeyboardInterrupt):
        train("bad", KeyboardInterrupt)
    assert status("bad") == "KILLED"


def test_the_run_is_there_at_once_and_grows_with_the_folder(store: str, tmp_path: Path) -> None:
    client = tracking.connect(store)
    training = Training(tmp_path / "resume", card(**STARTED))

    def shown() -> tuple[str, list[int]]:
        run_id = run_of(client, card())
        if run_id is None:
            return "", []
        return client.get_run(run_id).info.status, [m.step for m in client.get_metric_history(run_id, "train_loss")]

    def until(expected: tuple[str, list[int]]) -> None:
        end = time.monotonic() + 60
        while shown() != expected:
            assert time.monotonic() < end, shown()
            time.sleep(0.05)

    with tracking.following(store) as follow:
        notify = follow(training.folder)
        until(("RUNNING", []))
        training.add({"epoch": 1, "train_loss": 0.9})
        notify()
        until(("RUNNING", [1]))
        training.add({"epoch": 2, "train_loss": 0.7}, {"epoch": 3, "train_loss": 0.5})
        notify()
        until(("RUNNING", [1, 2, 3]))
    assert shown() == ("FINISHED", [1, 2, 3])


def test_a_resume_folder_that_is_deleted_takes_nothing_with_it(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Training(tmp_path / "resume", card(**STARTED))
    with tracking.following(store) as follow:
        notify = follow(training.folder)
        training.add({"epoch": 1, "train_loss": 0.9, "val_miou": 0.3}, {"epoch": 2, "train_loss": 0.7})
        notify()
        shutil.rmtree(training.folder.path)  # before the thread can have sent anything: MLflow's import takes longer
    client = tracking.connect(store)
    run_id = run_of(client, card())
    assert run_id is not None
    assert client.get_run(run_id).info.status == "FINISHED"
    assert [m.step for m in client.get_metric_history(run_id, "train_loss")] == [1, 2]
    assert tracking.record(store, folder(tmp_path / "models", card())) == run_id
    assert [m.step for m in client.get_metric_history(run_id, "train_loss")] == [1, 2, 3]
    assert capsys.readouterr().err == ""


def test_the_epochs_have_the_times_at_which_they_ended_whoever_sends_them(store: str, tmp_path: Path) -> None:
    rows = [{"epoch": epoch, "train_loss": 1 / epoch, "seconds": 10.0} for epoch in (1, 2, 3)]
    training = Training(tmp_path / "resume", card(**STARTED))
    with tracking.following(store) as follow:
        notify = follow(training.folder)
        training.add(*rows[:2])
        notify()
    client = tracking.connect(store)
    run_id = tracking.record(store, trained(tmp_path / "models", card(), rows), strict=True)
    start_ms = client.get_run(run_id).info.start_time
    assert [m.timestamp - start_ms for m in client.get_metric_history(run_id, "train_loss")] == [10_000, 20_000, 30_000]


def test_two_trainings_may_begin_on_a_new_database_at_once(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from pathlib import Path\n"
        "from segline import tracking\n"
        "from segline.layout import ModelFolder\n"
        "from tracking_parts import Training, card\n"
        "store, made, resume = sys.argv[1], ModelFolder(Path(sys.argv[2])), Path(sys.argv[3])\n"
        "training = Training(resume, card(made.name, training={}))\n"
        "with tracking.following(store) as follow:\n"
        "    notify = follow(training.folder)\n"
        "    for epoch in (1, 2, 3):\n"
        "        training.add({'epoch': epoch, 'train_loss': 1 / epoch})\n"
        "        notify()\n"
        "assert tracking.record(store, made)\n"
    )
    made = [folder(tmp_path / "models", card(name)) for name in ("unet", "other")]
    processes = [
        subprocess.Popen([sys.executable, "-c", script, store, str(one.path), str(tmp_path / f"resume{i}")], stderr=subprocess.PIPE, text=True)
        for i, one in enumerate((*made, made[0]))
    ]
    errors = [process.communicate(timeout=200)[1] for process in processes]
    assert [(process.returncode, error) for process, error in zip(processes, errors, strict=True)] == [(0, "")] * 3
    client = tracking.connect(store)
    assert len(client.search_runs([tracking.experiment_id(client, "shapes")])) == 2
    for name in ("unet", "other"):
        run_id = run_of(client, card(name))
        steps = [m.step for m in client.get_metric_history(str(run_id), "val_miou")]
        assert steps == [1, 3]


def test_without_mlflow_a_training_goes_on_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name == "mlflow" or name.startswith("mlflow.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)  # type: ignore[arg-type]
    store = f"sqlite:///{tmp_path}/mlflow.db"
    training = Training(tmp_path / "resume", card(**STARTED))
    with tracking.following(store) as follow:
        notify = follow(training.folder)
        training.add({"epoch": 1, "train_loss": 1.0})
        notify()
    made = folder(tmp_path / "models", card())
    assert tracking.record(store, made) is None
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("MLflow cannot be imported" in line and "make setup" in line for line in lines)
    with pytest.raises(TrackingError, match="make setup"):
        tracking.record(store, made, strict=True)


def test_folders_that_cannot_be_read_are_told_together_after_the_others_are_recorded(store: str, tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in ("broken", "torn", "unet"):
        folder(models, card(name))
    (models / "broken" / "model.json").write_text("{")
    (models / "torn" / "history.csv").write_text("epoch,train_loss\n1,much\n")
    (models / "empty").mkdir()
    with pytest.raises(ModelError) as caught:
        tracking.sync(store, models)
    assert len(caught.value.problems) == 2
    assert run_of(tracking.connect(store), card()) is not None
    assert tracking.sync(store, tmp_path / "nowhere") == []
