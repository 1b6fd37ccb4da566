"""What a model folder says of its model's worth and cost, as one line of the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segline.card import ModelCard
from segline.layout import ModelFolder
from segline.tasks import catalog as tasks
from segline.tracking.contents import mapping


@dataclass(frozen=True)
class Standing:
    """One model. What nobody has measured or declared yet is None."""

    model: str
    dataset: str  # that it was trained for
    arch: str
    encoder: str | None
    task: str
    metric: str  # key of the figure
    value: float | None
    low: float | None  # of the figure's 95 % interval
    high: float | None
    split: str | None  # that was scored, how many images it has, and the hash of these and their truth
    images: int | None
    split_hash: str | None
    parameters: int | None
    multiply_adds: int | None  # of one prediction
    onnx_bytes: int | None
    memory_bytes: int | None  # of one prediction in PyTorch on a CPU in fp32: weights, and tensors alive at the same time
    torch_ms: float | None  # median of one image on a CPU, from the decoded image to its prediction
    onnx_ms: float | None
    image_size: tuple[int, int] | None  # of the image that these three are of: height, width
    threads: tuple[int | None, int | None]  # with which PyTorch and ONNX Runtime were timed
    training_s: float | None
    device: str | None  # that trained
    code_licence: str | None
    weights_licence: str | None  # of those that the training started from
    data_licence: str | None  # of the images that it learnt from
    lacking: tuple[str, ...]  # what is to be run so that the line is complete: `evaluate`, `export`


def standing(folder: ModelFolder, metric: str | None = None) -> Standing:
    """The line of a trained model; metric: the key of metrics.json that counts, default the task's own. Raises ModelError for files that cannot be read."""
    card = ModelCard.read(folder.card)
    settings = card.plan["settings"]
    measured, proof = mapping(folder.metrics, "evaluate"), mapping(folder.parity, "export")
    cost, licences = _inner(proof, "cost"), _inner(proof, "licences")
    in_torch, in_onnx = _inner(cost, "latency"), _inner(proof, "latency")
    key = metric or tasks.get(card.task).metric
    parameters = _whole(cost.get("parameters")) or _whole(card.training.get("parameter_count"))
    return Standing(
        model=folder.name,
        dataset=str(card.dataset["name"]),
        arch=str(settings.get("arch")),
        encoder=_text(settings.get("encoder")),
        task=card.task,
        metric=key,
        value=_number(measured.get(key)),
        low=_number(measured.get(f"{key}_low")),
        high=_number(measured.get(f"{key}_high")),
        split=_text(measured.get("split")),
        images=_whole(measured.get("images")),
        split_hash=_text(measured.get("split_hash")),
        parameters=parameters,
        multiply_adds=_whole(cost.get("multiply_adds")),
        onnx_bytes=_whole(proof.get("onnx_bytes")),
        memory_bytes=_whole(cost.get("memory_bytes")),
        torch_ms=_number(in_torch.get("median_ms")),
        onnx_ms=_number(in_onnx.get("median_ms")),
        image_size=_size(in_onnx.get("image_size")),
        threads=(_whole(in_torch.get("threads")), _whole(in_onnx.get("threads"))),
        training_s=_number(card.training.get("seconds")),
        device=_text(card.training.get("device")),
        code_licence=_text(licences.get("code")),
        weights_licence=_text(licences.get("weights")),
        data_licence=_text(card.dataset.get("licence")),
        lacking=(*(() if measured else ("evaluate",)), *(() if cost and licences else ("export",))),
    )


def _inner(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _size(value: object) -> tuple[int, int] | None:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(side, int) for side in value):
        return value[0], value[1]
    return None
