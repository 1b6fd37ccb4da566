"""An ONNX file as an MLflow model: the pyfunc of `segline_runtime.pyfunc` with the package it needs, and nothing of Segline."""

from __future__ import annotations

import base64
import io
import logging
import shutil
from importlib import metadata
from pathlib import Path

from PIL import Image

import segline_runtime
from segline.plan.code import Code
from segline.tracking.store import load_mlflow
from segline_runtime.specification import Specification

REQUIREMENTS = ("mlflow", "onnxruntime", "numpy", "pillow")
"""All that a registered model needs, pinned to the versions it was registered with."""

_RUNTIME = Path(segline_runtime.__file__).parent


def save(*, file: Path, target: Path, trained_on: Path | None = None, run_id: str | None = None, model_id: str | None = None) -> None:
    """Write an ONNX file as the MLflow model folder `target`; `trained_on`: the file with the hashes of its training images, kept beside it."""
    load_mlflow()
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType, Array

    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)
    answer: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "task"),
        ColSpec(Array(DataType.long), "size"),
        ColSpec(DataType.string, "mask", required=False),
    ]
    answer += [ColSpec(AnyType(), name, required=False) for name in ("classes", "objects")]  # type: ignore[no-untyped-call]
    save_model(
        target,
        python_model=str(_RUNTIME / "pyfunc.py"),
        code_paths=[str(_RUNTIME)],
        artifacts={"model": str(file)} | ({} if trained_on is None else {"trained_on": str(trained_on)}),
        pip_requirements=[f"{package}=={metadata.version(package)}" for package in REQUIREMENTS],
        # A schema of inputs would shut out either arrays or base64 text; the model checks what it gets itself.
        signature=ModelSignature(outputs=Schema(answer)),
        input_example={"image": [_example()]},
        mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id),
    )
    for cache in list(target.rglob("__pycache__")):
        shutil.rmtree(cache)


def _example() -> str:
    """A small grey PNG, base64."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (128, 128, 128)).save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


def runtime_digest(specification: Specification) -> str:
    """Of the code that a registered model carries and predicts with."""
    modules = ["segline_runtime.pyfunc", f"segline_runtime.{specification.task}"]
    if specification.components is not None:
        modules += ["segline_runtime.semantic", "segline_runtime.components"]
    if specification.fusion is not None:
        modules.append("segline_runtime.fusion")
    return Code(Path(segline_runtime.__file__).parents[1]).digest(modules)[:16]
