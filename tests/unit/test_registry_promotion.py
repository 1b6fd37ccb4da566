"""Gates, force, and the way back, against a real store and real ONNX models."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from model_parts import SPLIT_HASH, fresh_store, model_folder, prepared

from segline import registry, tracking
from segline.data.store import PreparedDataset
from segline.errors import RegistryError
from segline.metrics import catalog
from segline.metrics.paired import Comparison
from segline.promotion import measure
from segline.promotion.checks import checks
from segline.promotion.compare import Figures
from segline.promotion.gates import Gates
from segline.promotion.history import Target, rollback
from segline.promotion.promote import Outcome, promote

NAME = "ramps-unet"


class House:
    """A store, prepared data, and what is done with them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = fresh_store(root / "store")
        self.dataset = PreparedDataset(prepared(root / "prepared"))

    def register(self, threshold: float, **more: Any) -> int:
        return registry.register(store=self.store, folder=model_folder(self.root / "models" / "unet", threshold=threshold, **more)).version

    def promote(self, to: Target = "staging", **more: Any) -> Outcome:
        """`more`: gates, and what else `promote` takes."""
        gates = Gates(**{key: more.pop(key) for key in list(more) if key in Gates.model_fields})
        return promote(store=self.store, name=NAME, to=to, dataset=self.dataset, gates=gates, **more)

    def rollback(self, alias: Target = "staging", **more: Any) -> tuple[int, int]:
        lost, back = rollback(store=self.store, name=NAME, alias=alias, **more)
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
    with pytest.raises(RegistryError, match=r"promote\.unet\.metric: a model of the task semantic has no figure 'mask_ap'"):
        house.promote(metric="mask_ap", at_least=0.5)
    with pytest.raises(RegistryError, match=r"There is no figure 'iou/blue' to decide by; there are .*iou/bright.* Correct promote\.unet\.metric"):
        house.promote(metric="iou/blue", at_least=0.5)
    with pytest.raises(RegistryError, match="no version 9"):
        house.promote(number=9)


DEFINED = {
    "iou": "miou",
    "dice": "dice/bright",
    "pixel_accuracy": "pixel_accuracy",
    "pixel_error": "pixel_error",
    "class_accuracy": "mean_class_accuracy",
    "fw_iou": "fw_iou",
    "iou_per_image": "miou_per_image",
    "dice_per_image": "mdice_per_image",
    "boundary_iou": "boundary_iou/bright",
    "boundary_f1": "boundary_f1",
    "stuff_pq": "stuff_pq",
    "ece": "ece",
    "thresholds": "best_threshold_dice",
}
"""Each metric of the ramps that has a better and a worse, by one of its figures."""


def test_no_metric_of_the_catalogue_is_forgotten() -> None:
    of_pixels = {word for word in catalog.METRICS if catalog.get(word).counts == "pixels"}
    assert of_pixels - DEFINED.keys() == {"class_support"}


@pytest.fixture(scope="module")
def perfect_and_worse(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Version 1 is perfect and staged, version 2 is worse; `latency_ms=1` keeps both where they are."""
    found = House(tmp_path_factory.mktemp("house"))
    found.register(127.5)
    found.promote()
    found.register(100)
    return found


@pytest.mark.parametrize(("word", "key"), DEFINED.items())
def test_every_metric_that_is_asked_for_decides(perfect_and_worse: House, word: str, key: str) -> None:
    less = word in catalog.LESS_IS_BETTER
    good, bad, limit = (0.0, 1.0, "at_most") if less else (1.0, 0.0, "at_least")
    asked: dict[str, Any] = {"metric": key, "metrics": [word], "latency_ms": 1, "counts": perfect_and_worse.root / "counts"}
    gate = f"{key} {limit.replace('_', ' ')}"

    def told(**more: Any) -> Outcome:
        return perfect_and_worse.promote(**asked, **more)

    alone = told(to="production", number=1, **{limit: good})
    assert gates(alone) == {"parity": True, gate: True, "latency at most": False}
    for confidence in (None, 0.95):
        worse = told(confidence=confidence, **{limit: bad})
        assert gates(worse) == {"parity": True, gate: True, f"{key} not worse": False, "latency at most": False}
        failed, figures = worse.failed[0], worse.figures
        assert f"{good:.4f} (version 1: {good:.4f} {'+' if less else '−'} 0)" in failed.wanted
        assert figures is not None and isinstance(figures.candidate, float) and figures.comparison is not None
        assert figures.comparison.difference == pytest.approx(figures.candidate - good)
        assert (figures.comparison.low > 0) if less else (figures.comparison.high < 0)
    assert failed.found.endswith("; it is worse)")
    assert gates(told(confidence=0.95, not_worse_by=1.0, **{limit: good})) == {"parity": True, gate: False, f"{key} not worse": True, "latency at most": False}


def test_what_is_counted_on_request_is_kept_apart(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = house.root / "counts"
    house.register(127.5)
    house.promote(counts=kept)
    house.register(120)
    asked: dict[str, Any] = {"metric": "boundary_iou", "metrics": ["iou", "boundary_iou"], "not_worse_by": 1e-6, "counts": kept}
    first = house.promote(**asked)
    assert [check.gate for check in first.failed] == ["boundary_iou not worse"]
    assert len(list(kept.iterdir())) == 3, "the first version by both rules, the second by those of boundaries"
    with monkeypatch.context() as patched:
        patched.setattr(measure, "evaluate", None)
        assert house.promote(**asked).checks == first.checks


def test_what_nobody_asked_for_and_the_wrong_direction_are_refused(house: House) -> None:
    house.register(127.5)
    for asked, told in [
        ({"metric": "boundary_iou"}, r"promote\.unet\.metric: boundary_iou is counted where it is asked for alone.*metrics: \[iou, .*, boundary_iou\]"),
        ({"metric": "ece", "metrics": ["iou"]}, r"Write `evaluate: \{metrics: \[iou, ece\]\}`"),
        ({"metric": "pixel_error", "at_least": 0.5}, r"promote\.unet\.at_least: of pixel_error less is better\. Write `at_most: 0\.5`"),
        ({"at_most": 0.5}, r"promote\.unet\.at_most: of miou more is better\. Write `at_least: 0\.5`"),
    ]:
        with pytest.raises(RegistryError, match=told):
            house.promote(**asked)
    assert house.holder() is None


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


def test_the_interval_is_told_beside_the_figure_which_decides(house: House) -> None:
    house.register(127.5)
    house.promote()
    house.register(126)
    outcome = house.promote(not_worse_by=0.1)
    [check] = [check for check in outcome.checks if check.gate == "miou not worse"]
    assert outcome.moved
    assert re.fullmatch(r"0\.9\d{3} \(difference -0\.\d{4}, 95 % interval -0\.\d{4} … -0\.\d{4}\)", check.found)
    record = json.loads(house.tags(2)["segline.staging.0002"])
    assert record["difference"]["low"] <= record["difference"]["value"] <= record["difference"]["high"] < 0
    assert (record["difference"]["level"], record["images"], record["left_out"]) == (0.95, 3, 0)


def test_with_confidence_the_whole_interval_decides(house: House) -> None:
    house.register(127.5)
    house.promote()
    house.register(120)
    worse = house.promote(not_worse_by=0.01, confidence=0.9)
    assert [check.gate for check in worse.failed] == ["miou not worse"]
    assert worse.failed[0].wanted.endswith("(version 1: 1.0000 − 0.01), shown with 90 % confidence")
    assert worse.failed[0].found.endswith("; it is worse)")
    assert house.promote(not_worse_by=0.2, confidence=0.9).moved


@pytest.mark.parametrize(
    ("comparison", "passed", "told"),
    [
        (Comparison(0.02, -0.004, 0.04, 60, None), True, "0.8200 (difference +0.0200, 95 % interval -0.0040 … +0.0400)"),
        (Comparison(0.02, -0.03, 0.07, 60, 167), False, "-0.0300 … +0.0700; 60 images cannot tell, about 167 would be needed)"),
        (Comparison(-0.005, -0.03, 0.07, 60, None), False, "; 60 images cannot tell, and more would not, as long as the difference is just -0.005)"),
        (Comparison(-0.1, -0.2, -0.05, 60, None), False, "-0.2000 … -0.0500; it is worse)"),
        (None, False, "0.8200; 60 images cannot tell"),
    ],
)
def test_what_the_images_can_tell_is_said_in_a_sentence(house: House, comparison: Comparison | None, passed: bool, told: str) -> None:
    house.register(127.5)
    version = registry.find(store=house.store, name=NAME, number=1)
    figures = Figures("miou", 0.82, 0.8, comparison, 60, 0, ())
    *_, check = checks(version, version, figures, Gates(not_worse_by=0.005, confidence=0.95))
    assert check.passed == passed
    assert check.found.endswith(told)


def test_the_same_question_is_computed_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = house.root / "counts"
    house.register(127.5)
    house.promote(counts=kept)
    digests = [house.tags(1)["segline.digest"]]
    house.register(126)
    first = house.promote(not_worse_by=1e-6, counts=kept)
    digests.append(house.tags(2)["segline.digest"])
    # The rest of the name is the digest of the code that counts.
    assert {file.name.rsplit("-", 1)[0] for file in kept.iterdir()} == {f"{digest}-{SPLIT_HASH}" for digest in digests}
    with monkeypatch.context() as patched:
        patched.setattr(measure, "evaluate", None)
        again = house.promote(not_worse_by=1e-6, counts=kept)
    assert again.checks == first.checks and again.failed
    for file in kept.iterdir():
        file.write_bytes(b"broken")
    assert house.promote(not_worse_by=1e-6, counts=kept).checks == first.checks


def test_an_incumbent_whose_files_are_gone_is_known_by_its_counts_and_a_candidate_must_be_there(house: House) -> None:
    kept = house.root / "counts"
    house.register(127.5)
    house.promote(counts=kept)
    [stored] = (house.root / "store").rglob("model.onnx")
    stored.unlink()
    house.register(127.4)
    assert house.promote(counts=kept).moved
    for stored in (house.root / "store").rglob("model.onnx"):
        stored.unlink()
    with pytest.raises(RegistryError, match="The files of ramps-unet version 2 are not at"):
        house.promote("production", counts=kept)


def test_images_that_were_learnt_from_take_no_part(house: House) -> None:
    hashes = house.dataset.split("test", ()).hashes()
    house.register(127.5, trained_on=[hashes[0], "f" * 16])
    alone = house.promote()
    assert (alone.left_out, alone.notes) == (1, ("1 of 3 images are left out: the version has learnt from them.",))
    house.register(126, trained_on=[hashes[2]])
    outcome = house.promote(not_worse_by=1)
    assert outcome.moved and outcome.left_out == 2
    assert outcome.notes == ("2 of 3 images are left out: one of the two versions has learnt from them.",)
    record = json.loads(house.tags(2)["segline.staging.0002"])
    assert (record["images"], record["left_out"], record["difference"]) == (1, 2, None)
    assert house.promote(number=1, not_worse_by=1, confidence=0.95).failed[0].found.endswith("; 1 image cannot tell")
    house.register(125, trained_on=hashes[:2])
    nothing = house.promote(not_worse_by=1, at_least=0.1)
    assert [check.gate for check in nothing.failed] == ["miou at least", "miou not worse"]
    assert {check.found for check in nothing.failed} == {"every scored image is one that was learnt from"}


def test_a_version_of_a_later_segline_is_refused(house: House) -> None:
    house.register(127.5)
    tracking.connect(house.store).set_model_version_tag(NAME, "1", "segline.format", "99")
    with pytest.raises(RegistryError, match="version 1 was registered by a later Segline"):
        house.promote()
