"""dvc.yaml says the truth: stages in the line's order, each on its own plan and the data it reads, and no list of source files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from segline.layout import Checkout, ModelFolder

ROOT = Path(__file__).resolve().parents[2]
FILE = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")
STAGES: dict[str, dict[str, Any]] = FILE["stages"]
ORDER = ("desc", "wdir", "foreach", "do", "cmd", "deps", "params", "outs", "metrics", "plots")
PER_MODEL = ("train", "evaluate", "export", "register")
LOOKING = ("params", "plan")
"""Stages that look at all of params.yaml and the code."""


def _body(stage: str) -> dict[str, Any]:
    return STAGES[stage].get("do", STAGES[stage])


def _names(entries: list[Any]) -> set[str]:
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def test_the_stages_of_the_line_in_its_order() -> None:
    assert list(STAGES) == ["params", "download", "prepare", "plan", *PER_MODEL]
    assert {script.stem for script in (ROOT / "pipeline").glob("*.py")} - {"here"} == set(STAGES)


def test_it_is_short() -> None:
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 120


@pytest.mark.parametrize("stage", STAGES)
def test_keys_stand_in_one_order_and_each_stage_is_described(stage: str) -> None:
    keys = list(_body(stage))
    assert keys == [key for key in ORDER if key in keys]
    assert keys[0] == "desc"
    model = " ${key}" if stage in PER_MODEL else ""
    up = "../" if "wdir" in _body(stage) else ""
    assert _body(stage)["cmd"] == f"python {up}pipeline/{stage}.py{model}"
    assert STAGES[stage].get("foreach") == ("${models}" if stage in PER_MODEL else None)


@pytest.mark.parametrize("stage", STAGES)
def test_only_the_looking_stages_depend_on_code_and_parameters(stage: str) -> None:
    code = {dep for dep in _body(stage)["deps"] if dep.split("/")[0] in ("src", "pipeline", "params.yaml")}
    assert code == ({"params.yaml", "pipeline", "src"} if stage in LOOKING else set())
    assert "params" not in _body(stage), "plans say what a stage uses"


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in LOOKING])
def test_each_other_stage_depends_on_its_own_plan(stage: str) -> None:
    checkout = Checkout(Path())
    plans = {"download": checkout.data_plan.download, "prepare": checkout.data_plan.prepare}
    model = checkout.plan("${key}")
    plan = plans[stage] if stage in plans else getattr(model, stage)
    deps = [(Path(_body(stage).get("wdir", "")) / dep).as_posix() for dep in _body(stage)["deps"]]
    assert plan.as_posix() in deps
    assert not [dep for dep in deps if dep.startswith(("data/plan", "data/params")) and dep != plan.as_posix()]


def test_all_that_a_model_folder_holds_is_an_output() -> None:
    folder = ModelFolder(Path("models/${key}"))
    properties = [name for name, value in vars(ModelFolder).items() if isinstance(value, property) and name != "name"]
    written = set()
    for stage in PER_MODEL:
        for kind in ("outs", "metrics", "plots"):
            written |= _names(_body(stage).get(kind, []))
    assert written == {str(getattr(folder, name)) for name in properties}


def test_experiments_show_the_parameters() -> None:
    assert FILE["params"] == ["params.yaml"]


def test_the_registration_is_never_taken_from_the_run_cache() -> None:
    [out] = _body("register")["outs"]
    assert out == {"models/${key}/registered.json": {"persist": True}}
