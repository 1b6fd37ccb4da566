"""What names a model on the command line, and the ONNX file that is meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segline.cli.surroundings import checkout_if_any, tracking_store
from segline.errors import ModelError
from segline.layout import ModelFolder, expanded

ADDRESSES = "models:/<name>@<alias>, models:/<name>/<version>, a model folder, its name, or a model.onnx."
"""For help texts."""


@contextmanager
def onnx_file(model: str) -> Iterator[Path]:
    """The ONNX file that an address, a folder, the name of a folder or a path means, for as long as the block lasts.

    Raises ModelError when a folder has none or there is no such folder, RegistryError for an address of nothing.
    """
    if model.startswith(("models:", "runs:")):
        from segline import registry

        store = tracking_store()
        with registry.onnx_file(store=store, version=registry.resolve(store=store, uri=model)) as file:
            yield file
        return
    path = expanded(model)
    if path.is_file():
        yield path
        return
    folder = ModelFolder(path) if path.is_dir() else _folder_named(model)
    if not folder.onnx.is_file():
        raise ModelError(f"{folder.path} holds no {folder.onnx.name}; run `dvc repro export@{folder.name}` first.")
    yield folder.onnx


def _folder_named(model: str) -> ModelFolder:
    found = checkout_if_any()
    there = [] if found is None or not found.models.is_dir() else sorted(path.name for path in found.models.iterdir() if path.is_dir())
    if found is None or model not in there:
        known = f" The folders in {found.models} are {', '.join(there)}." if found and there else ""
        raise ModelError(f"There is no model '{model}': give models:/<name>@<alias>, a model folder or a model.onnx.{known}")
    return found.model(model)
