"""What the first version of Segline wrote can still be used: `tests/golden/v1` holds its files, tags and ONNX models as it wrote them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from model_parts import fresh_store, model_folder, prepared

from segline import registry, tracking
from segline.card import ModelCard
from segline.data.store import PreparedDataset
from segline.inference.predict import load_predictor
from segline.promotion.gates import Gates
from segline.promotion.promote import promote
from segline.provenance import file_digest
from segline.registry import Receipt
from segline_runtime.predictions import InstancePrediction, SemanticPrediction

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v1"
NAME = "ramps-unet"
MODELS = ("unet", "maskrcnn")


def _register_as_then(store: str, folder: Path) -> None:
    """A version with the old tags, whose content is the old ONNX model."""
    artifacts = folder / "artifacts"
    artifacts.mkdir(parents=True)
    shutil.copy(GOLDEN / "semantic.onnx", artifacts / "model.onnx")
    tags = json.loads((GOLDEN / "models" / "unet" / "tags.json").read_text())
    tags["segline.digest"] = file_digest(GOLDEN / "semantic.onnx")
    client = tracking.connect(store)
    client.create_registered_model(NAME)
    client.create_model_version(NAME, folder.as_uri(), tags=tags)
    client.set_registered_model_alias(NAME, "candidate", "1")


@pytest.fixture
def store(tmp_path: Path) -> str:
    store = fresh_store(tmp_path / "store")
    _register_as_then(store, tmp_path / "then")
    return store


def test_a_version_of_then_is_listed(store: str) -> None:
    [version] = registry.versions(store=store, name=NAME)
    assert version.aliases == ("candidate",)
    assert (version.format, version.task, version.parity, version.trained_on) == (1, "semantic", True, None)
    assert next(iter(version.metrics)) == "miou" and version.latency_ms == pytest.approx(6.311)
    assert registry.trained_on(store=store, version=version) is None
    with registry.onnx_file(store=store, version=version) as file:
        assert load_predictor(file).specification.geometry.fit == "stretch"


def test_a_version_of_then_is_promoted_and_replaced(store: str, tmp_path: Path) -> None:
    dataset = PreparedDataset(prepared(tmp_path / "prepared"))
    gates = Gates(at_least=0.9, not_worse_by=0.01, latency_ms=100)
    first = promote(store=store, name=NAME, to="staging", dataset=dataset, gates=gates, counts=tmp_path / "counts")
    assert first.moved and first.left_out == 0
    assert first.notes == ("Which images version 1 has learnt from was not kept with it, so none is left out on its account.",)
    registry.register(store=store, folder=model_folder(tmp_path / "models" / "unet", threshold=127.4))
    second = promote(store=store, name=NAME, to="staging", dataset=dataset, gates=gates, counts=tmp_path / "counts")
    assert second.moved and second.replaced is not None and second.replaced.number == 1
    back = promote(store=store, name=NAME, to="staging", dataset=dataset, gates=gates, counts=tmp_path / "counts", number=1)
    assert back.moved and back.replaced is not None and back.replaced.number == 2
    assert {check.gate: check.passed for check in back.checks} == {"parity": True, "miou at least": True, "miou not worse": True, "latency at most": True}


def test_the_models_of_then_predict() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[:, 15:] = 200
    semantic, instance = (load_predictor(GOLDEN / f"{name}.onnx")(image) for name in ("semantic", "instance"))
    assert isinstance(semantic, SemanticPrediction) and isinstance(instance, InstancePrediction)
    np.testing.assert_array_equal(semantic.class_ids[0], [0] * 15 + [1] * 15)
    shares = load_predictor(GOLDEN / "semantic.onnx")(image, probabilities=True)  # then an output of the file, today made of its logits
    assert isinstance(shares, SemanticPrediction) and shares.probabilities is not None
    np.testing.assert_allclose(shares.probabilities.sum(axis=0), 1, atol=1e-5)
    assert instance.boxes.shape == (2, 4) and instance.masks.shape == (2, 20, 30)


@pytest.mark.parametrize("model", MODELS)
def test_the_cards_and_receipts_of_then_are_read(model: str) -> None:
    card = ModelCard.read(GOLDEN / "models" / model / "model.json")
    tags = json.loads((GOLDEN / "models" / model / "tags.json").read_text())
    assert card.registered_name == f"shapes-{model}"
    assert (card.key, card.task) == (tags["segline.key"], tags["segline.task"])
    assert card.specification.geometry.size == (64, 64)
    receipt = Receipt.read(GOLDEN / "models" / model / "registered.json")
    assert receipt is not None and (receipt.name, receipt.version, receipt.digest) == (card.registered_name, 1, tags["segline.digest"])
