"""MLflow for a command that asks a few questions and ends: half of its time would go into what no answer needs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec

from segline import process
from segline.tracking.store import load_mlflow, one_client

NOT_NEEDED = ("pandas", "scipy", "pyarrow", "pygments")
"""What MLflow and its libraries import where it is installed, and do without where it is not, as in its smaller edition mlflow-skinny."""


@contextmanager
def quick() -> Iterator[None]:
    """For a block that only reads a store, in which MLflow must be asked (see `segline.tracking.tables`): no garbage is looked for meanwhile, the store is
    reached once, and in a process of our own MLflow is imported without `NOT_NEEDED`. Raises TrackingError when MLflow is not installed.

    What is imported stays until the end, and looking through these hundreds of thousands of objects again and again takes a fifth of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        with one_client(_import_less if process.ours() else None):
            yield
    finally:
        if collecting:
            gc.enable()


def _import_less() -> None:
    """Import MLflow without what no question needs; where it cannot do without, whole."""
    before = set(sys.modules)
    if "mlflow" in before:
        return
    refusing = _Refusing(NOT_NEEDED)
    sys.meta_path.insert(0, refusing)
    try:
        load_mlflow()
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # what most stores are asked by; its imports are the other half
    except Exception:  # whatever it is: the import after this one shows whether MLflow is to blame
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "mlflow":
                del sys.modules[name]
    finally:
        sys.meta_path.remove(refusing)


class _Refusing:
    """As if some packages were not installed."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        if name.partition(".")[0] in self._packages:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return None
