"""Imports run one way, as the data does; light modules stay light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
MODULES = sorted(SOURCE.rglob("*.py"))

LAYERS = {
    "signals": -2,
    "threads": -2,
    "forks": -2,
    "process": -2,
    "errors": -1,
    "choices": 0,
    "environment": 0,
    "files": 0,
    "machine": 0,
    "memory": 0,
    "settings": 0,
    "layout": 1,
    "plain_yaml": 1,
    "progress": 1,
    "written": 1,
    "provenance": 1,
    "sentences": 1,
    "promotion.gates": 1,  # a section of params.yaml
    "training.settings": 1,  # likewise
    "recipes": 2,
    "history": 2,
    "data": 2,
    "losses": 3,
    "drawing": 3,
    "inspection": 4,
    "card": 3,
    "models": 4,
    "models.ensemble": 7,  # their graphs are made of the graphs of tasks
    "models.box_fusion": 7,
    "models.components": 7,
    "metrics": 4,
    "params": 5,
    "documentation": 7,
    "conveyor": 6,
    "tasks": 6,
    "inference": 7,
    "suspects": 8,
    "labelling": 8,
    "plan": 7,
    "init": 8,
    "training": 8,
    "evaluation": 8,
    "composition": 9,
    "export": 9,
    "profiling": 9,
    "trial": 9,
    "tracking": 10,
    "registry": 11,
    "promotion": 12,
    "status": 12,
    "comparison": 13,
    "leaderboard": 14,
    "cli": 15,
}
"""Parts of `segline` in the order of the line: each imports only parts with a lower number, or itself."""

HEAVY = ("torch", "torchvision", "lightning", "segmentation_models_pytorch", "timm", "albumentations", "mlflow", "matplotlib", "cv2", "onnx")

KNOWS_MLFLOW = ("segline/tracking", "segline/registry", "segline_runtime/pyfunc.py")

LIGHT = (
    "card", "choices", "cli", "comparison", "conveyor", "data", "documentation", "drawing", "environment", "errors", "files", "forks", "history",
    "inference", "init", "inspection", "labelling", "layout", "leaderboard", "machine", "memory", "metrics", "params", "plain_yaml", "plan", "process",
    "progress", "promotion", "provenance", "recipes", "registry", "sentences", "settings", "signals", "status", "suspects", "threads", "tracking", "written",
)  # fmt: skip
"""Parts that load without torch as a whole; of the others, settings and catalogues do, and the light halves of tasks."""

LIGHT_HALVES = re.compile(
    r"segline\.(models\.(\w+\.)?(\w*settings|catalog)|losses\.(?!criterion).*|training\.settings|tasks\.(base|catalog|results)|tasks\.\w+\.(?!learning|views).+)"
)


def _imports(file: Path, *, at_import_time: bool = False) -> set[str]:
    """Dotted names that a module imports; with `at_import_time` those outside functions and `if TYPE_CHECKING` alone."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(file.read_text(), str(file))]
    while waiting:
        node = waiting.pop()
        if at_import_time and (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        ):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))
    return found


def _name(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("file", MODULES, ids=_name)
def test_nothing_in_src_imports_the_stages(file: Path) -> None:
    stages = {script.stem for script in (ROOT / "pipeline").glob("*.py")} | {"pipeline"}
    # A stage and a library package share their name on purpose; only an import without `segline.` is the script.
    assert not {name.split(".")[0] for name in _imports(file)} & (stages - set(sys.stdlib_module_names))


@pytest.mark.parametrize("file", sorted((SOURCE / "segline_runtime").rglob("*.py")), ids=_name)
def test_the_runtime_stands_alone(file: Path) -> None:
    allowed = {"numpy", "PIL", "onnxruntime", "segline_runtime"} | ({"mlflow", "pandas"} if file.name == "pyfunc.py" else set())
    assert {name.split(".")[0] for name in _imports(file)} <= allowed | set(sys.stdlib_module_names)


def _part(name: str) -> str | None:
    """The part that a dotted name belongs to; a module with a place of its own comes before its package."""
    package, *parts = name.split(".")
    if package != "segline":
        return None
    return next((part for part in (".".join(parts[:2]), ".".join(parts[:1])) if part in LAYERS), None)


def _dotted(file: Path) -> str:
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def test_every_part_has_its_place_in_the_line() -> None:
    parts = {file.relative_to(SOURCE / "segline").parts[0].removesuffix(".py") for file in MODULES if file.is_relative_to(SOURCE / "segline")}
    assert parts - {"__init__"} == {part for part in LAYERS if "." not in part}


@pytest.mark.parametrize("file", [file for file in MODULES if file.is_relative_to(SOURCE / "segline")], ids=_name)
def test_imports_run_one_way(file: Path) -> None:
    own = _part(_dotted(file))
    imported = {part for name in _imports(file) if (part := _part(name)) and part != own}
    upwards = {part for part in imported if own is None or LAYERS[part] >= LAYERS[own]}
    assert not upwards, f"{_name(file)} belongs to {own} and imports {', '.join(sorted(upwards))}, which come later in the line"


@pytest.mark.parametrize("file", MODULES, ids=_name)
def test_only_logbook_and_registry_know_mlflow(file: Path) -> None:
    if not _name(file).startswith(KNOWS_MLFLOW):
        assert "mlflow" not in {name.split(".")[0] for name in _imports(file)}


@pytest.mark.parametrize("file", [file for file in MODULES if file.name == "__init__.py"], ids=_name)
def test_no_package_init_is_heavy(file: Path) -> None:
    assert not {name.split(".")[0] for name in _imports(file, at_import_time=True)} & set(HEAVY)


def _light_modules() -> list[str]:
    names = []
    for file in MODULES:
        name = _dotted(file)
        parts = name.split(".")
        if parts[0] == "segline_runtime" or (len(parts) > 1 and parts[1] in LIGHT) or LIGHT_HALVES.fullmatch(name):
            names.append(name)
    return names


def test_light_modules_load_without_torch() -> None:
    program = textwrap.dedent("""
        import importlib, sys
        class Blocked:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("torch", "torchvision", "lightning", "segmentation_models_pytorch", "timm"):
                    raise ImportError(f"{name} is blocked")
        sys.meta_path.insert(0, Blocked())
        for name in sys.argv[1:]:
            try:
                importlib.import_module(name)
            except ImportError as error:
                print(f"{name}: {error}")
    """)
    names = _light_modules()
    assert len(names) > 100
    done = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, check=True, cwd=SOURCE)
    assert done.stdout == ""
