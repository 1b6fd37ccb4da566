"""What `register` leaves in a real store."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from model_parts import fresh_store, instance_onnx, model_folder, semantic_onnx
from PIL import Image

from segline import registry, tracking
from segline.errors import ModelError, RegistryError, TrackingError
from segline.layout import Checkout
from segline.provenance import file_digest
from segline.registry import copies, registering
from segline.status import compare
from segline_runtime.predictor import Predictor


@pytest.fixture
def store(tmp_path: Path) -> str:
    return fresh_store(tmp_path / "store")


def candidate(store: str, name: str = "ramps-unet") -> int | None:
    version = registry.holder(store=store, name=name, alias="candidate")
    return version and version.number


def test_a_version_says_what_it_is_worth(store: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "models" / "unet", latency_ms=7.25)
    receipt = registry.register(store=store, folder=folder)
    [version] = registry.versions(store=store, name="ramps-unet")
    assert (receipt.name, receipt.version, receipt.store) == ("ramps-unet", 1, store)
    assert receipt.digest == version.digest == file_digest(folder.onnx)
    assert version.aliases == ("candidate",)
    assert version.metrics == {"miou": 0.9, "mdice": 0.95}
    assert list(version.metrics) == ["miou", "mdice"]
    assert version.parity and version.latency_ms == 7.25
    assert version.tags["segline.commit"] == "c0ffee"
    assert version.run_id == receipt.run_id == tracking.run_id(store, version.tags["segline.key"], "ramps")


def test_registering_again_makes_no_version_and_going_back_moves_the_candidate(store: str, tmp_path: Path) -> None:
    path = tmp_path / "models" / "unet"
    first = registry.register(store=store, folder=model_folder(path))
    assert registry.register(store=store, folder=model_folder(path)) == first
    assert registry.register(store=store, folder=model_folder(path, threshold=100)).version == 2
    assert candidate(store) == 2
    assert registry.register(store=store, folder=model_folder(path)) == first
    assert candidate(store) == 1
    assert [version.number for version in registry.versions(store=store, name="ramps-unet")] == [2, 1]


def test_an_experiment_leaves_the_candidate_to_the_workspace_until_it_is_applied(store: str, tmp_path: Path) -> None:
    here = model_folder(tmp_path / "models" / "unet")
    registry.register(store=store, folder=here)
    copied = model_folder(tmp_path / "copy" / "unet", threshold=100)
    assert registry.register(store=store, folder=copied, experiment="brave-fox").version == 2
    assert candidate(store) == 1
    assert registry.find(store=store, name="ramps-unet", number=2).tags["segline.experiment"] == "brave-fox"
    assert registry.register(store=store, folder=here, experiment="brave-fox").version == 1
    assert "segline.experiment" not in registry.find(store=store, name="ramps-unet", number=1).tags
    assert registry.register(store=store, folder=copied).version == 2
    assert candidate(store) == 2


def test_a_copy_knows_its_experiment_and_marks_its_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGLINE_HOME", raising=False)
    monkeypatch.setenv("DVC_EXP_NAME", "brave-fox")
    copy = Checkout(tmp_path / ".dvc" / "tmp" / "exps" / "tmp1")
    assert (copies.experiment_of(Checkout(tmp_path)), copies.experiment_of(copy)) == (None, "brave-fox")
    monkeypatch.delenv("DVC_EXP_NAME")
    assert copies.experiment_of(copy) == "tmp1"
    plan = tmp_path / "register.json"
    plan.write_text('{"model": "unet", "code": "c", "version": 1}')
    copies.mark(plan, "tmp1")
    assert json.loads(plan.read_text()) == {"model": "unet", "code": "c", "version": 1, "experiment": "tmp1"}


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "..", "", "a/b", "x'y", None, 7])
@pytest.mark.parametrize("place", ["dataset", "model"])
def test_a_received_card_whose_names_lead_elsewhere_is_refused(name: object, place: str, store: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "models" / "unet")
    values = json.loads(folder.card.read_text())
    values |= {"model": name} if place == "model" else {"dataset": values["dataset"] | {"name": name}}
    folder.card.write_text(json.dumps(values))
    for use in (lambda: registry.register(store=store, folder=folder), lambda: tracking.record(store, folder)):
        with pytest.raises(ModelError, match=r"model\.json cannot be read.*dvc repro -f train@unet"):
            use()
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"mlflow.db"}


def test_mended_code_of_the_runtime_makes_a_version_of_the_same_network(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(tmp_path / "models" / "unet")
    first = registry.register(store=store, folder=folder)
    monkeypatch.setattr(registering, "runtime_digest", lambda _specification: "mended")
    second = registry.register(store=store, folder=folder)
    assert (first.version, second.version, second.digest) == (1, 2, first.digest)
    assert registry.register(store=store, folder=folder) == second
    assert candidate(store) == 2
    assert registry.versions(store=store, name="ramps-unet")[0].tags["segline.runtime"] == "mended"


def test_what_a_version_is_worth_is_refreshed_when_its_content_is_registered_again(store: str, tmp_path: Path) -> None:
    path = tmp_path / "models" / "unet"
    registry.register(store=store, folder=model_folder(path, metrics={"miou": 0.8}, latency_ms=9))
    before = registry.find(store=store, name="ramps-unet", number=1)
    folder = model_folder(path, metrics={"miou": 0.7, "miou_low": 0.6}, latency_ms=4)
    folder.parity.write_text(json.dumps({**json.loads(folder.parity.read_text()), "split_hash": "b" * 64}))
    assert registry.outdated(version=before, folder=folder)
    assert "the registry's figures of version 1 are not those of this folder" in dict(compare(store=store, folders=[folder])[0].problems)
    assert registry.register(store=store, folder=folder).version == 1
    [after] = registry.versions(store=store, name="ramps-unet")
    assert (before.metrics, before.latency_ms, before.tags["segline.split_hash"]) == ({"miou": 0.8}, 9, "a" * 64)
    assert (after.metrics, after.latency_ms, after.tags["segline.split_hash"], after.parity) == ({"miou": 0.7, "miou_low": 0.6}, 4, "b" * 64, True)
    assert not registry.outdated(version=after, folder=folder)


def test_a_version_carries_the_hashes_of_its_training_images(store: str, tmp_path: Path) -> None:
    registry.register(store=store, folder=model_folder(tmp_path / "models" / "unet", trained_on=["ab" * 8, "cd" * 8]))
    without = model_folder(tmp_path / "models" / "old")
    without.trained_on.unlink()
    registry.register(store=store, folder=without)
    first, second = (registry.find(store=store, name=name, number=1) for name in ("ramps-unet", "ramps-old"))
    assert (first.trained_on, first.format, first.tags["segline.format"]) == (2, 2, "2")
    assert registry.trained_on(store=store, version=first) == {"ab" * 8, "cd" * 8}
    assert second.trained_on is None and registry.trained_on(store=store, version=second) is None
    [stored] = (tmp_path / "store").rglob("trained_on.json")
    stored.write_text(json.dumps({"version": 99, "images": []}))
    with pytest.raises(RegistryError, match="of a later Segline"):
        registry.trained_on(store=store, version=first)


def test_a_receipt_of_a_later_segline_is_refused(store: str, tmp_path: Path) -> None:
    receipt = registry.register(store=store, folder=model_folder(tmp_path / "models" / "unet"))
    file = tmp_path / "registered.json"
    file.write_text(json.dumps(receipt.to_dict()))
    assert registry.Receipt.read(file) == receipt
    file.write_text(json.dumps({**receipt.to_dict(), "format": 99}))
    with pytest.raises(ModelError, match="later Segline"):
        registry.Receipt.read(file)


def test_an_upload_that_was_cut_off_is_no_version_and_a_whole_one_is_not_sent_again(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    folder = model_folder(tmp_path / "models" / "unet")

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_model_artifacts", cut)
        with pytest.raises(KeyboardInterrupt):
            registry.register(store=store, folder=folder)
    assert registry.versions(store=store, name="ramps-unet") == []
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "create_model_version", cut)
        with pytest.raises(KeyboardInterrupt):
            registry.register(store=store, folder=folder)
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_model_artifacts", cut)
        assert registry.register(store=store, folder=folder).version == 1
    client = tracking.connect(store)
    experiment = client.get_experiment_by_name("ramps").experiment_id
    assert [str(model.status) for model in client.search_logged_models([experiment])] == ["READY"]


def test_the_registered_model_takes_arrays_and_base64_and_answers_as_the_predictor(store: str, tmp_path: Path) -> None:
    import mlflow

    folder = model_folder(tmp_path / "models" / "unet")
    registry.register(store=store, folder=folder)
    model = mlflow.pyfunc.load_model("models:/ramps-unet@candidate")
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    text = base64.b64encode(stream.getvalue()).decode()
    [expected] = model.predict(image)
    assert expected["size"] == [20, 30]
    assert [c["name"] for c in expected["classes"]] == ["dark", "bright"]
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(expected["mask"]))))
    np.testing.assert_array_equal(mask, Predictor(folder.onnx)(image).class_ids)
    assert expected["classes"][1]["share"] == pytest.approx(mask.mean())
    nested = {"image": image.astype(np.int64).tolist()}
    for one in (image[None], text, [text], np.array([text]), {"image": [text]}, {"image": np.array([text])}, [{"image": text}], nested):
        assert model.predict(one) == [expected]
    assert model.predict(np.stack([image, image])) == [expected, expected]
    assert len(model.predict([image, image[:10]])) == 2
    with pytest.raises(mlflow.MlflowException, match="Image 1: The text is not base64"):
        model.predict([text, "xyz"])
    with pytest.raises(mlflow.MlflowException, match='has no "image", only picture'):
        model.predict({"picture": [text]})


def test_a_registered_model_needs_four_packages_and_names_no_folder_of_this_project(store: str, tmp_path: Path) -> None:
    from mlflow.artifacts import download_artifacts

    registry.register(store=store, folder=model_folder(tmp_path / "models" / "unet"))
    local = Path(download_artifacts("models:/ramps-unet/1", dst_path=str(tmp_path / "down")))
    assert sorted(line.split("==")[0] for line in (local / "requirements.txt").read_text().split()) == ["mlflow", "numpy", "onnxruntime", "pillow"]
    assert {path.name for path in (local / "code").iterdir()} == {"segline_runtime"}
    assert not list(local.rglob("__pycache__"))


def test_without_proof_of_parity_nothing_is_registered(store: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "models" / "unet")
    parity = json.loads(folder.parity.read_text())
    folder.parity.write_text(json.dumps({**parity, "passed": False}))
    with pytest.raises(RegistryError, match=r"not proved equal.*export@unet"):
        registry.register(store=store, folder=folder)
    folder.parity.write_text(json.dumps(parity))
    semantic_onnx(folder.onnx, 3)
    with pytest.raises(RegistryError, match="proves another file"):
        registry.register(store=store, folder=folder)
    folder.parity.unlink()
    with pytest.raises(ModelError, match=r"no parity\.json; run `dvc repro export@unet`"):
        registry.register(store=store, folder=folder)
    assert registry.names(store=store) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("parity.json", None),
        ("parity.json", "[]"),
        ("metrics.json", "7"),
        ("metrics.json", "{"),
        ("trained_on.json", '{"version": 1, "images": 5}'),
    ],
)
def test_a_file_that_somebody_edited_is_told_with_the_command_that_writes_it(file: str, text: str | None, store: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "models" / "unet")
    without = {name: value for name, value in json.loads((folder.path / file).read_text()).items() if name != "latency"}
    (folder.path / file).write_text(json.dumps(without) if text is None else text)
    with pytest.raises(ModelError, match=rf"{file}.*; run `dvc repro -f"):
        registry.register(store=store, folder=folder)


def test_versions_are_found_by_address_and_missing_ones_are_told(store: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "models" / "unet")
    with pytest.raises(RegistryError, match="it is empty"):
        registry.resolve(store=store, uri="models:/ramps-unet@candidate")
    registry.register(store=store, folder=folder)
    assert registry.resolve(store=store, uri="models:/ramps-unet@candidate") == registry.resolve(store=store, uri="models:/ramps-unet/1")
    with pytest.raises(RegistryError, match=r"has no model 'ramps-umet'; it has ramps-unet\. Did you mean 'ramps-unet'"):
        registry.resolve(store=store, uri="models:/ramps-umet@candidate")
    with pytest.raises(RegistryError, match=r"no version with the alias 'staging'; it has version 1 \(candidate\)"):
        registry.resolve(store=store, uri="models:/ramps-unet@staging")
    with pytest.raises(RegistryError, match="no version 7"):
        registry.resolve(store=store, uri="models:/ramps-unet/7")
    with pytest.raises(RegistryError, match="no address"):
        registry.resolve(store=store, uri="models:/ramps-unet")


def test_the_onnx_file_comes_back_whole_or_not_at_all(store: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "models" / "unet")
    registry.register(store=store, folder=folder)
    version = registry.find(store=store, name="ramps-unet", number=1)
    with registry.onnx_file(store=store, version=version) as file:
        assert file.read_bytes() == folder.onnx.read_bytes()
    assert not file.exists()
    [stored] = (tmp_path / "store").rglob("model.onnx")
    stored.write_bytes(b"something else")
    with pytest.raises(RegistryError, match="not the one that was registered"), registry.onnx_file(store=store, version=version):
        pass
    stored.unlink()
    with pytest.raises(RegistryError, match=r"The files of ramps-unet version 1 are not at .*segline sync"), registry.onnx_file(store=store, version=version):
        pass


def test_an_empty_registry_is_filled_again(store: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "models" / "unet")
    assert [receipt.version for receipt in registry.fill(store=store, folders=[folder])] == [1]
    assert registry.fill(store=store, folders=[folder]) == []
    other = fresh_store(tmp_path / "other")
    assert [receipt.store for receipt in registry.fill(store=other, folders=[folder])] == [other]


@pytest.mark.parametrize("hangs", [False, True], ids=["refuses", "hangs"])
def test_a_server_that_is_not_there_is_told_in_time(tmp_path: Path, hangs: bool) -> None:
    folder = model_folder(tmp_path / "models" / "unet")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"http://someone:secret@127.0.0.1:{server.getsockname()[1]}"
        if hangs:
            server.listen(8)  # connections are accepted by the kernel and never answered
        raised: list[BaseException] = []

        def ask() -> None:
            try:
                registry.register(store=address, folder=folder)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        started = time.monotonic()
        thread.start()
        thread.join(30)
        assert raised, f"no answer after {time.monotonic() - started:.0f} s"
    assert isinstance(raised[0], TrackingError)
    assert "secret" not in str(raised[0])


def test_an_instance_model_answers_with_its_objects(tmp_path: Path) -> None:
    import mlflow

    instance_onnx(tmp_path / "model.onnx")
    registry.save(file=tmp_path / "model.onnx", target=tmp_path / "saved")
    image = np.zeros((30, 40, 3), dtype=np.uint8)
    [answer] = mlflow.pyfunc.load_model(str(tmp_path / "saved")).predict(image)
    expected = Predictor(tmp_path / "model.onnx")(image)
    assert (answer["task"], answer["size"]) == ("instance", [30, 40])
    assert [(o["label"], o["class"], o["score"]) for o in answer["objects"]] == [(1, "bright", pytest.approx(0.9)), (1, "bright", 0.5)]
    assert [o["box"] for o in answer["objects"]] == expected.boxes.tolist()
    for found, mask in zip(answer["objects"], expected.masks, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(found["mask"])))) == 255, mask)
    json.dumps(answer)
