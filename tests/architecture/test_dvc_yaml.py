"""dvc.yaml says the truth: each stage depends on what its script imports and on nothing else of the code, and names what params.yaml has."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from segline.layout import ModelFolder
from segline.provenance import imported_files

ROOT = Path(__file__).resolve().parents[2]
STAGES: dict[str, dict[str, Any]] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
ORDER = ("desc", "foreach", "do", "cmd", "deps", "params", "outs", "metrics", "plots")
PER_MODEL = ("train", "evaluate", "export", "register")
MARKED = re.compile(r"\$\{([\w.]+)\}")


def _body(stage: str) -> dict[str, Any]:
    return STAGES[stage].get("do", STAGES[stage])


def _code_deps(stage: str) -> list[Path]:
    return [ROOT / dep for dep in _body(stage)["deps"] if dep.startswith(("src/", "pipeline/"))]


def test_the_stages_of_the_line_in_its_order() -> None:
    assert list(STAGES) == ["params", "download", "prepare", *PER_MODEL]
    assert {script.stem for script in (ROOT / "pipeline").glob("*.py")} - {"here"} == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_keys_stand_in_one_order_and_each_stage_is_described(stage: str) -> None:
    keys = list(_body(stage))
    assert keys == [key for key in ORDER if key in keys]
    assert keys[:2] == ["desc", "cmd"]
    model = " ${key}" if stage in PER_MODEL else ""
    assert _body(stage)["cmd"] == f"python pipeline/{stage}.py{model}"
    assert STAGES[stage].get("foreach") == ("${models}" if stage in PER_MODEL else None)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_cover_what_the_script_imports(stage: str) -> None:
    deps = _code_deps(stage)
    script = ROOT / "pipeline" / f"{stage}.py"
    needed = [script, ROOT / "pipeline" / "here.py", *(file for file in imported_files(script, ROOT / "src") if file.stat().st_size)]
    missing = [file.relative_to(ROOT).as_posix() for file in needed if not any(file == dep or dep in file.parents for dep in deps)]
    assert not missing, f"{stage} imports what its deps do not name: {missing}"
    needless = [dep.relative_to(ROOT).as_posix() for dep in deps if not any(file == dep or dep in file.parents for file in needed)]
    assert not needless, f"{stage} depends on what it does not import: {needless}"


def test_evaluation_export_and_registration_do_not_rerun_for_training_code() -> None:
    for stage in PER_MODEL[1:]:
        assert ROOT / "src/segline/training" not in _code_deps(stage)


def test_where_it_runs_and_what_promotes_are_no_dependency() -> None:
    for stage in STAGES:
        assert not {key.split(".")[0] for key in _body(stage).get("params", [])} & {"runtime", "promote"}


def test_every_key_that_dvc_names_is_asked_for_by_the_first_stage() -> None:
    tree = ast.parse((ROOT / "pipeline" / "params.py").read_text())
    asked = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "NAMED_IN_DVC_YAML"
    )
    named: set[str] = set()
    for stage in STAGES.values():
        body = stage.get("do", stage)
        named.update(key for key in body.get("params", []) if "${" not in key)
        named.update(key for key in MARKED.findall(str(stage)) if key != "key")
    assert named - {"data"} == set(asked)


def test_all_that_a_model_folder_holds_is_an_output() -> None:
    folder = ModelFolder(Path("models/${key}"))
    properties = [name for name, value in vars(ModelFolder).items() if isinstance(value, property) and name != "name"]
    written = {
        next(iter(out)) if isinstance(out, dict) else out for stage in PER_MODEL for kind in ("outs", "metrics", "plots") for out in _body(stage).get(kind, [])
    }
    assert written == {str(getattr(folder, name)) for name in properties}


def test_the_registration_is_never_taken_from_the_run_cache() -> None:
    [out] = _body("register")["outs"]
    assert out == {"models/${key}/registered.json": {"persist": True}}
