"""What is shipped holds: parameter files are valid, the README says what is there, versions are exact."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from segline import params
from segline.data.formats.catalog import FORMATS
from segline.data.public import telling
from segline.data.public.catalog import PUBLIC
from segline.data.sources import Folder
from segline.layout import ModelFolder
from segline.losses.catalog import LOSSES
from segline.metrics.catalog import METRICS
from segline.models.catalog import ARCHITECTURES, COMPOSITIONS
from segline.recipes.catalog import RECIPES
from segline_runtime.specification import Fit

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def test_the_shipped_params_are_valid() -> None:
    assert set(params.read(ROOT / "params.yaml").models) == {"unet", "maskrcnn"}


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_examples_are_valid(file: Path, tmp_path: Path) -> None:
    text = file.read_text()
    (tmp_path / "params.yaml").write_text(text)
    data = params.read(tmp_path / "params.yaml").data
    assert isinstance(data, Folder) and data.source in PUBLIC  # not a path that only one machine has
    assert text.startswith("#"), f"{file.name} does not begin with its command and its score"


@pytest.mark.parametrize("name", PUBLIC)
def test_the_folder_of_a_public_data_set_is_there(name: str) -> None:
    page = ROOT / "data" / name / "README.md"
    assert page.is_file() and page.read_text() == telling.readme(name, PUBLIC[name]), "run `segline datasets --out data`"
    tracked = subprocess.run(["git", "check-ignore", "-q", str(page)], cwd=ROOT, check=False)
    assert tracked.returncode == 1, f"git ignores {page}: add `!/data/{name}/` to .gitignore"


def test_the_readmes_parameters_are_valid(tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    text = "\n".join(blocks).replace("/data/street", str(tmp_path))
    (tmp_path / "params.yaml").write_text(text)
    settings = params.read(tmp_path / "params.yaml")
    assert list(settings.models) == ["street", "films", "again", "soup", "mean", "objects"] and isinstance(settings.data, Folder)


def _commands() -> list[str]:
    """Lines of the README's shell blocks, continued lines joined, comments and prompts cut."""
    blocks = re.findall(r"^```(?:sh|bash|console|shell)\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", line).removeprefix("$ ").strip() for line in lines if line.strip() and not line.startswith("#")]


def test_readme_has_commands() -> None:
    assert {"make repro", "make test"} <= set(_commands())


def test_readme_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join([*_commands(), *re.findall(r"`(make [a-z -]+)`", README.read_text())])
    named = {word for words in re.findall(r"\bmake((?: [a-z-]+)+)", text) for word in words.split()}
    assert named and named <= targets


def test_readme_segline_commands_and_options_exist() -> None:
    from segline.cli.app import app

    known = get_command(app).commands  # type: ignore[attr-defined]
    lines = [command for command in _commands() if re.match(r"(\S+/)?segline\b", command)]
    assert lines
    for line in lines:
        words = line.split()
        assert words[1] in known, line
        options = {option for parameter in known[words[1]].params for option in parameter.opts}
        used = {word.split("=")[0] for word in words[2:] if word.startswith("--")}
        assert used <= options, line


def test_readme_files_exist() -> None:
    """Links within the checkout, and scripts that commands run."""
    linked = {target.split("#")[0] for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", README.read_text())} - {""}
    scripts = {word for command in _commands() for word in command.split() if re.fullmatch(r"(pipeline|examples|benchmarks)/\S+\.\w+", word)}
    missing = [name for name in linked | scripts if not (ROOT / name).exists()]
    assert not missing


def _table(column: str) -> dict[str, str]:
    """A table of the README that begins with a column of this name: first cell → second cell."""
    found = re.search(rf"^\| {re.escape(column)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", README.read_text(), re.MULTILINE)
    assert found, f"README.md has no table that begins with {column}"
    return {cells[1].strip(): cells[2].strip() for cells in (line.split("|") for line in found[1].splitlines())}


def _words(text: str | Iterable[str]) -> list[str]:
    return re.findall(r"`([^`]+)`", text if isinstance(text, str) else " ".join(text))


def test_readme_names_what_the_catalogues_have() -> None:
    choices = _table("choice")
    assert _words(_table("`format`")) == list(FORMATS)
    assert _words(choices["`arch`"]) == list(ARCHITECTURES)
    assert _words(choices["`arch`, of other models"]) == list(COMPOSITIONS)
    assert _words(choices["`loss` (semantic)"]) == list(LOSSES)
    assert _words(choices["`recipe`"]) == list(RECIPES)
    assert _words(choices["`evaluate.metrics`"]) == list(METRICS)
    fits = re.search(r"`input\.fit` is ([^;]+);", README.read_text())
    assert fits and _words(fits[1]) == list(Fit.__args__)  # type: ignore[attr-defined]


def test_readme_names_every_file_of_a_model_folder() -> None:
    folder = ModelFolder(Path("models"))
    properties = [name for name, value in vars(ModelFolder).items() if isinstance(value, property) and name != "name"]
    there = {getattr(folder, name).name for name in properties}
    assert {word.rstrip("/") for word in _words(_table("file"))} == there


def test_readme_names_every_stage_in_order() -> None:
    stages = list(YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"])
    line = re.search(r"^params\.yaml ─► (.*)$", README.read_text(), re.MULTILINE)
    assert line and [name.removesuffix("@<model>") for name in line[1].split(" ─► ")] == stages
    assert {script.stem for script in (ROOT / "pipeline").glob("*.py")} - {"here"} == set(stages)


def test_readme_describes_folders_that_are_there() -> None:
    for cell in _table("where"):
        first, *others = _words(cell)
        folders = [ROOT / first, *((ROOT / first).parent / other for other in others)]
        assert all(folder.is_dir() for folder in folders), cell


def test_the_licence_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert project["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0" in text
    assert all("Apache-2.0" in (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert set(re.findall(r"^  make ([a-z-]+)", shown, re.MULTILINE)) == set(phony[1].split())


def test_constraints_are_exact_and_name_every_dependency() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)
    pinned = {_canonical(line.split("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {_canonical(name) for name in (*project["dependencies"], *project["optional-dependencies"]["dev"])}
    assert asked and asked <= pinned


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_shipped_file_names_this_machine() -> None:
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    here = str(ROOT)
    naming = []
    for name in listing:
        file = ROOT / name
        if file.suffix in (".py", ".md", ".yaml", ".toml", ".txt", "") and file.is_file() and here in file.read_text(errors="ignore"):
            naming.append(name)
    assert not naming
