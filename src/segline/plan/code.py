"""Digests of code: what a stage of a model runs, hashed as syntax, so that it runs again when its result could differ and not otherwise.

The digest of some modules covers everything of the project that they import, directly or not. Of each file its syntax tree counts, without comments, docstrings
and the texts that are only said to people (of exceptions, warnings, `print` and loggers). Left out are tables of names, the classes of parameters (their
values stand in the plan), and what only speaks to people, files or MLflow. Words of catalogues are not followed: what a model uses is named by who asks.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from segline import errors
from segline.provenance import digest

DECIDES_NOTHING = (
    "segline",
    "segline.card",
    "segline.choices",
    "segline.cli*",
    "segline.conveyor",
    "segline.environment",
    "segline.errors",
    "segline.files",
    "segline.layout",
    "segline.machine",
    "segline.memory",
    "segline.losses.class_weights",
    "segline.models.composed_settings",
    "segline.models.semantic_settings",
    "segline.params",
    "segline.progress",
    "segline.plan*",
    "segline.promotion*",
    "segline.provenance",
    "segline.sentences",
    "segline.settings",
    "segline.signals",
    "segline.status",
    "segline.tasks.base",
    "segline.tracking*",
    "segline.written",
    "segline.training.resume",
    "segline.training.silence",
    "segline_runtime",
    "segline_runtime.errors",
    "segline_runtime.predictions",
    "segline_runtime.tasks",
    "*.catalog",
    "*.settings",
)
"""Patterns of modules that no digest covers."""

_LOGGERS = frozenset({"log", "_log", "logger", "_logger", "logging", "warnings"})
_LOGS = frozenset({"warn", "debug", "info", "warning", "error", "exception", "critical"})
_ERRORS = frozenset(name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.SeglineError)) | {"InputError"}


class Code:
    """The source below one folder. Files are read once, so that the digests of many models cost little more than one."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._trees: dict[Path, ast.Module] = {}
        self._imports: dict[Path, tuple[str, ...]] = {}
        self._digests: dict[Path, str] = {}
        self._places: dict[str, tuple[tuple[str, Path], ...]] = {}

    def digest(self, modules: Iterable[str], *, without: Iterable[str] = ()) -> str:
        """One hash for `modules` and all that they import. `without`: further patterns of modules to leave out."""
        found = self.modules(modules, without=without)
        return digest({name: self._digest_of(file) for name, file in found.items()})

    def modules(self, modules: Iterable[str], *, without: Iterable[str] = ()) -> dict[str, Path]:
        """The modules that a digest covers, by name."""
        left_out = (*DECIDES_NOTHING, *without)
        found: dict[str, Path] = {}
        waiting = list(modules)
        for name in waiting:
            assert self._find(name), f"there is no module {name}"
        seen: set[str] = set()
        while waiting:
            asked = waiting.pop()
            if asked in seen:
                continue
            seen.add(asked)
            for name, file in self._find(asked):
                if name in found or any(fnmatchcase(name, pattern) for pattern in left_out):
                    continue
                found[name] = file
                waiting += self._imports_of(file)
        return dict(sorted(found.items()))

    def _find(self, name: str) -> tuple[tuple[str, Path], ...]:
        """The module of a dotted name and the packages around it, as far as they lie below the source folder; the last part may be a name within a module."""
        if name not in self._places:
            parts = name.split(".")
            places: list[tuple[str, Path]] = []
            for end in range(1, len(parts) + 1):
                base = self._source.joinpath(*parts[:end])
                for file in (base.with_suffix(".py"), base / "__init__.py"):
                    if file.is_file():
                        places.append((".".join(parts[:end]), file))
            self._places[name] = tuple(places)
        return self._places[name]

    def _tree(self, file: Path) -> ast.Module:
        if file not in self._trees:
            self._trees[file] = ast.parse(file.read_text(encoding="utf-8"), str(file))
        return self._trees[file]

    def _imports_of(self, file: Path) -> tuple[str, ...]:
        if file not in self._imports:
            self._imports[file] = tuple(_imported(self._tree(file)))
        return self._imports[file]

    def _digest_of(self, file: Path) -> str:
        if file not in self._digests:
            self._digests[file] = hashlib.sha256("".join(_said(self._tree(file))).encode()).hexdigest()
        return self._digests[file]


def _imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names of absolute imports of the project, also those inside functions; imports for type checkers alone do not count."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.ImportFrom) and node.level), "relative imports are not followed"
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            skipped.update(id(inner) for statement in node.body for inner in ast.walk(statement))
        elif id(node) in skipped:
            continue
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("segline"))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level and node.module.startswith("segline"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _said(node: Any) -> Iterator[str]:
    """A syntax tree as text that says what is computed: without positions, empty fields (Python's versions differ in them), docstrings and messages."""
    if isinstance(node, list):
        for item in node:
            if not _is_text_alone(item):
                yield from _said(item)
                yield ","
        return
    if not isinstance(node, ast.AST):
        yield repr(node)
        return
    yield type(node).__name__
    yield "("
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in ("ctx", "kind", "type_comment"):
            continue
        if _is_message(node, name):
            continue
        yield f"{name}="
        yield from _said(value)
        yield ";"
    yield ")"


def _is_text_alone(node: Any) -> bool:
    """A string that stands as a statement: a docstring of a module, class, function or attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_message(node: ast.AST, field: str) -> bool:
    """What a user's mistake, `print` or a logger is told, and what an assertion says. What other calls are given may be computed with."""
    if isinstance(node, ast.Assert):
        return field == "msg"
    if not isinstance(node, ast.Call) or field not in ("args", "keywords"):
        return False
    called = node.func
    if isinstance(called, ast.Name):
        return called.id == "print" or called.id in _ERRORS
    if not isinstance(called, ast.Attribute):
        return False
    return called.attr in _LOGS and isinstance(called.value, ast.Name) and called.value.id in _LOGGERS
