"""What is shipped holds: parameter files are valid, the README's commands exist, versions are exact."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from segline import params

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def test_the_shipped_params_are_valid() -> None:
    assert set(params.read(ROOT / "params.yaml").models) == {"unet", "maskrcnn"}


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_examples_are_valid(file: Path, tmp_path: Path) -> None:
    text = file.read_text()
    root = re.search(r"^ +root: (\S+)", text, re.MULTILINE)
    assert root, f"{file.name} names no data.root"
    # An example is copied over params.yaml, so its data root counts from the checkout; whether that data is here does not matter.
    (tmp_path / "params.yaml").write_text(text.replace(root[1], str(tmp_path)))
    settings = params.read(tmp_path / "params.yaml")
    assert settings.data.dataset == "folder"
    assert text.startswith("#"), f"{file.name} does not begin with its command and its score"


def _commands() -> list[str]:
    """Lines of the README's shell blocks, continued lines joined, comments and prompts cut."""
    blocks = re.findall(r"^```(?:sh|bash|console|shell)\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", line).removeprefix("$ ").strip() for line in lines if line.strip() and not line.startswith("#")]


def test_readme_has_commands() -> None:
    assert {"make repro", "make test"} <= set(_commands())


def test_readme_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for command in _commands() for words in re.findall(r"\bmake((?: [a-z]+)+)", command) for word in words.split()}
    assert named and named <= targets


def test_readme_segline_commands_and_options_exist() -> None:
    from segline.cli import app

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


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert set(re.findall(r"^  make ([a-z]+)", shown, re.MULTILINE)) == set(phony[1].split())


def test_constraints_are_exact_and_name_every_dependency() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)
    pinned = {_canonical(line.split("==")[0]) for line in lines}
    project = (ROOT / "pyproject.toml").read_text()
    asked = {_canonical(name) for name in re.findall(r'^  "([A-Za-z0-9._-]+)",', project, re.MULTILINE)}
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
