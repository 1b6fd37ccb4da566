"""The digest of code: what changes a result changes it, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from segline.plan.code import Code

MODULE = '''"""What it does."""

from segline.data import store
from segline.errors import DataError


def area(mask, scale=2):
    """In pixels."""
    # every pixel counts
    if mask is None:
        raise DataError(f"there is no mask in {store}")
    print("measuring", mask)
    return mask.sum() * scale
'''


@pytest.fixture
def source(tmp_path: Path) -> Path:
    package = tmp_path / "segline"
    for folder in ("data", "training", "models/unet", "metrics"):
        (package / folder).mkdir(parents=True)
        (package / folder / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "errors.py").write_text("class DataError(Exception): ...\n")
    (package / "data" / "store.py").write_text("SIZE = 3\n")
    (package / "metrics" / "iou.py").write_text("x = 1\n")
    (package / "training" / "train.py").write_text(MODULE)
    return tmp_path


def digest(source: Path, *modules: str, without: tuple[str, ...] = ()) -> str:
    return Code(source).digest(modules or ["segline.training.train"], without=without)


SAME = {
    "a comment": ("# every pixel counts", "# each one"),
    "a docstring": ('"""In pixels."""', '"""In square pixels of the image."""'),
    "no docstring": ('    """In pixels."""\n', ""),
    "the module's docstring": ('"""What it does."""', '"""Something else."""'),
    "the sentence of an error": ('f"there is no mask in {store}"', '"draw one", mask'),
    "what is printed": ('print("measuring", mask)', 'print(f"now {mask}", flush=True)'),
    "blank lines and quotes": ("    return mask.sum() * scale", "\n    return (mask.sum()\n            * scale)"),
}

OTHER = {
    "a logarithm": ("mask.sum() * scale", "mask.log(1)"),
    "a number": ("scale=2", "scale=3"),
    "an operator": ("mask.sum() * scale", "mask.sum() + scale"),
    "the kind of an error": ("raise DataError(", "raise ValueError("),
    "a condition": ("if mask is None:", "if mask is not None:"),
    "a call more": ("    return mask.sum() * scale", "    mask.sort()\n    return mask.sum() * scale"),
}


@pytest.mark.parametrize("change", SAME)
def test_what_is_only_said_does_not_count(source: Path, change: str) -> None:
    before = digest(source)
    old, new = SAME[change]
    assert MODULE.count(old) == 1
    (source / "segline/training/train.py").write_text(MODULE.replace(old, new))
    assert digest(source) == before


@pytest.mark.parametrize("change", OTHER)
def test_what_is_computed_counts(source: Path, change: str) -> None:
    before = digest(source)
    old, new = OTHER[change]
    assert MODULE.count(old) == 1
    (source / "segline/training/train.py").write_text(MODULE.replace(old, new))
    assert digest(source) != before


def test_what_is_imported_counts_and_nothing_else(source: Path) -> None:
    before = digest(source)
    (source / "segline/metrics/iou.py").write_text("x = 2\n")
    (source / "segline/models/unet/network.py").write_text("y = 2\n")
    (source / "segline/errors.py").write_text("class DataError(ValueError): ...\n")
    assert digest(source) == before, "other modules, and those that decide nothing"
    (source / "segline/data/store.py").write_text("SIZE = 4\n")
    assert digest(source) != before


def test_imports_within_functions_count_and_those_for_type_checkers_do_not(source: Path) -> None:
    file = source / "segline/training/train.py"
    file.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from segline.metrics import iou\n")
    assert "segline.metrics.iou" not in Code(source).modules(["segline.training.train"])
    file.write_text("def f():\n    from segline.metrics import iou\n")
    assert "segline.metrics.iou" in Code(source).modules(["segline.training.train"])
    assert "segline.metrics.iou" not in Code(source).modules(["segline.training.train"], without=["segline.metrics*"])


def test_the_order_of_asking_does_not_matter_and_a_name_alone_does(source: Path) -> None:
    assert digest(source, "segline.training.train", "segline.metrics.iou") == digest(source, "segline.metrics.iou", "segline.training.train")
    before = digest(source, "segline.metrics.iou")
    (source / "segline/metrics/iou.py").rename(source / "segline/metrics/dice.py")
    assert digest(source, "segline.metrics.dice") != before
