"""Where a model comes from: hashes of parameters, data and code. Equal provenance means the same training."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "torchvision", "lightning", "segmentation_models_pytorch", "timm", "albumentations", "numpy", "onnx", "onnxruntime", "mlflow", "dvc")


@dataclass(frozen=True)
class Provenance:
    """Three hashes; `key` stands for all of them."""

    parameters: str
    data: str
    code: str

    @property
    def key(self) -> str:
        return digest(asdict(self))[:16]

    def differences(self, other: Provenance) -> list[str]:
        """Which of parameters, data, code differ."""
        mine, theirs = asdict(self), asdict(other)
        return [part for part in mine if mine[part] != theirs[part]]


def digest(value: Any) -> str:
    """Hash of anything JSON can say; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def code_digest(script: Path, source: Path) -> str:
    """Hash of a script and of every module below `source` that it imports, directly or not."""
    files = imported_files(script, source)
    return digest({file.relative_to(source).as_posix(): file_digest(file) for file in files} | {script.name: file_digest(script)})


def imported_files(script: Path, source: Path) -> list[Path]:
    """The modules below `source` that a script imports, directly or not, read off the import statements (also those inside functions)."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        for file in _direct_imports(waiting.pop(), source) - found:
            found.add(file)
            waiting.append(file)
    return sorted(found)


def _direct_imports(file: Path, source: Path) -> set[Path]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    files: set[Path] = set()
    for name in names:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            base = source.joinpath(*parts[:end])
            files.update(f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file())
    return files


def versions() -> dict[str, str]:
    """Versions of the packages that shape a result, as far as they are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit(root: Path) -> str | None:
    """The git commit of a checkout, with `-dirty` where tracked code differs from it; None outside git."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "pipeline", "params.yaml", "dvc.yaml")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head
