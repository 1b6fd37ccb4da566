"""Gates, force, and the way back, against a real store and real ONNX models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from model_parts import fresh_store, model_folder, prepared

from segline import promotion, registry, tracking
from segline.data.store import PreparedDataset
from segline.errors import RegistryError
from segline.promotion import Outcome

NAME = "ramps-unet"


class House:
    """A store, prepared data, and what is done with them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = fresh_store(root / "store")
        self.dataset = PreparedDataset(prepared(root / "prepared"))

    def register(self, threshold: float, **more: Any) -> int:
        return registry.register(store=self.store, folder=model_folder(self.root / "models" / "unet", threshold=threshold, **more)).version

    def promote(self, to: promotion.Target = "staging", **more: Any) -> Outcome:
        return promotion.promote(store=self.store, name=NAME, to=to, dataset=self.dataset, **more)

    def rollback(self, alias: promotion.Target = "staging", **more: Any) -> tuple[int, int]:
        lost, back = promotion.rollback(store=self.store, name=NAME, alias=alias, **more)
        return lost.number, back.number

    def holder(self, alias: str = "staging") -> int | None:
        version = registry.holder(store=self.store, name=NAME, alias=alias)
        return version and version.number

    def tags(self, number: int) -> dict[str, str]:
        return dict(registry.find(store=self.store, name=NAME, number=number).tags)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def gates(outcome: Outcome) -> dict[str, bool]:
    return {check.gate: check.passed for check in outcome.checks}


def test_a_candidate_that_passes_goes_to_staging_and_from_there_to_production(house: House) -> None:
    house.register(127.5)
    with pytest.raises(RegistryError, match="no version with the alias 'staging'"):
        house.promote("production")
    outcome = house.promote(at_least=0.99, latency_ms=10)
    assert outcome.moved and not outcome.forced and outcome.replaced is None
    assert gates(outcome) == {"parity": True, "miou at least": True, "latency at most": True}
    assert house.holder() == 1
    assert house.holder("production") is None
    house.register(126)
    assert house.promote("production").version.number == 1
    record = json.loads(house.tags(1)["segline.staging.0001"])
    assert {key: record[key] for key in ("event", "replaced", "metric", "value", "replaced_value", "forced", "reason", "failed")} == {
        "event": "promote",
        "replaced": None,
        "metric": "miou",
        "value": 1.0,
        "replaced_value": None,
        "forced": False,
        "reason": None,
        "failed": [],
    }
    assert record["by"] and record["at"].startswith("20") and record["split_hash"] == "a" * 64


def test_promoting_the_holder_changes_nothing(house: House) -> None:
    house.register(127.5)
    house.promote()
    before = house.tags(1)
    outcome = house.promote(at_least=2)
    assert outcome.already and not outcome.moved and not outcome.checks
    assert house.tags(1) == before


def test_each_gate_fails_alone_with_both_figures_and_nothing_changes(house: House) -> None:
    house.register(127.5)
    house.promote()
    house.register(64, latency_ms=50, metrics={"miou": 0.999})  # what was recorded does not count: it is measured now
    for asked, gate, wanted, found in [
        ({"at_least": 0.9, "not_worse_by": 0.9, "latency_ms": 60}, "miou at least", "0.9", "0.58"),
        ({"at_least": 0.5, "not_worse_by": 0.1, "latency_ms": 60}, "miou not worse", "0.9000 (version 1: 1.0000 − 0.1)", "0.58"),
        ({"at_least": 0.5, "not_worse_by": 0.9, "latency_ms": 40}, "latency at most", "40 ms", "50.0 ms"),
    ]:
        outcome = house.promote(**asked)
        [failed] = outcome.failed
        assert (failed.gate, failed.wanted) == (gate, wanted)
        assert failed.found.startswith(found)
        assert len(outcome.checks) == 4
        assert not outcome.moved and house.holder() == 1
    assert not [key for key in house.tags(2) if key.startswith("segline.staging.")]
    assert house.promote(at_least=0.5, not_worse_by=0.9, latency_ms=50).moved


def test_a_version_without_proof_of_parity_fails(house: House) -> None:
    house.register(127.5)
    tracking.connect(house.store).delete_model_version_tag(NAME, "1", "segline.parity")
    assert gates(house.promote(at_least=0.5)) == {"parity": False, "miou at least": True}
    assert house.holder() is None


def test_force_needs_a_reason_and_both_are_recorded(house: House) -> None:
    house.register(64)
    with pytest.raises(RegistryError, match="--force needs --reason"):
        house.promote(at_least=0.9, force=True, reason=" ")
    with pytest.raises(RegistryError, match="--reason is recorded with --force"):
        house.promote(at_least=0.9, reason="because")
    assert house.holder() is None
    outcome = house.promote(at_least=0.9, force=True, reason="a demonstration on Monday")
    assert outcome.moved and outcome.forced
    record = json.loads(house.tags(1)["segline.staging.0001"])
    assert (record["forced"], record["reason"], record["failed"]) == (True, "a demonstration on Monday", ["miou at least"])


def test_a_number_and_another_metric_can_be_asked_for(house: House) -> None:
    house.register(127.5)
    house.register(120)
    assert house.promote(number=1, metric="iou/bright", at_least=0.99).version.number == 1
    with pytest.raises(RegistryError, match=r"no metric 'mask_ap'.*miou.*promote\.unet\.metric"):
        house.promote(metric="mask_ap", at_least=0.5)
    with pytest.raises(RegistryError, match="no version 9"):
        house.promote(number=9)


def test_rollback_goes_further_back_each_time(house: House) -> None:
    for threshold in (127.5, 127, 126, 125):
        house.register(threshold)
        house.promote(not_worse_by=1)
    assert house.rollback(reason="it blinks") == (4, 3)
    assert json.loads(house.tags(3)["segline.staging.0005"])["reason"] == "it blinks"
    assert house.rollback() == (3, 2)
    assert house.promote(number=4, not_worse_by=1).replaced is not None
    assert house.rollback() == (4, 2)
    assert house.rollback() == (2, 1)
    with pytest.raises(RegistryError, match=r"ramps-unet version 1 is the first .* none to go back to"):
        house.rollback()
    with pytest.raises(RegistryError, match="No version of 'ramps-unet' holds 'production'"):
        house.rollback("production")


def test_rollback_with_aliases_moved_by_hand_and_versions_deleted(house: House) -> None:
    client = tracking.connect(house.store)
    for threshold in (127.5, 127, 126):
        house.register(threshold)
        house.promote(not_worse_by=1)
    house.register(125)
    client.set_registered_model_alias(NAME, "staging", "4")
    assert house.rollback() == (4, 3)
    client.delete_model_version(NAME, "2")
    assert house.rollback() == (3, 1)


def test_data_with_other_classes_is_told_and_can_be_overruled(house: House) -> None:
    house.register(127.5)
    house.promote()
    house.register(126)
    house.dataset = PreparedDataset(prepared(house.root / "prepared", ("dark", "bright", "blue")))
    outcome = house.promote(at_least=0.5)
    assert gates(outcome) == {"parity": True, "miou at least": False, "miou not worse": False}
    assert "version 1 knows the classes dark, bright; the data in" in outcome.checks[2].wanted
    assert not outcome.moved
    assert house.promote(at_least=0.5, force=True, reason="new classes").moved


def test_an_incumbent_whose_files_are_gone_fails_its_gate_and_can_be_overruled(house: House) -> None:
    house.register(127.5)
    house.promote()
    [stored] = (house.root / "store").rglob("model.onnx")
    stored.unlink()
    house.register(126)
    outcome = house.promote()
    assert [check.gate for check in outcome.failed] == ["miou not worse"]
    assert "The files of ramps-unet version 1 are not at" in outcome.failed[0].wanted
    assert house.promote(force=True, reason="files lost").moved
