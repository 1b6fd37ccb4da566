"""Part 1: what must be true of a training on this device, on generated images.

Each finding has `passed`, and the figures by which it was judged.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from proof import stage
from proof.findings import Findings, Result
from proof.settings import Settings
from proof.workspace import Workspace
from segline.layout import ModelFolder
from segline.plan import plans
from segline.training import resume
from segline.training.settings import Runtime

FIRST_LOSS = {"unet": 0.02, "maskrcnn": 0.10}
"""Largest relative difference between the first epoch's loss on this device and on the CPU, both in fp32. Convolutions may be computed in TF32; a detector
draws its samples by the device's own random numbers."""

SHARED_LOSS = 0.01
"""Largest relative difference between the first epoch's loss of two processes and of one."""

SHARED_SCORE = 0.02
"""Largest difference between the best validation metric of two processes and of one: rounding, amplified by training."""

_EPOCHS = 3
_KILLED_EPOCHS = 5


def run(settings: Settings, findings: Findings) -> None:
    """All checks, the general ones first."""
    place = Workspace(settings.scratch / "works")
    place.prepare(parameters(settings.tiny))
    here = Runtime(accelerator=settings.accelerator, devices=1, workers=0 if settings.tiny else 2)
    for arch in ("unet", "maskrcnn"):
        few = ("auto",) if arch == "maskrcnn" else ("auto", "fp32")  # on a CPU, where the command is tried, fp16 is bf16
        for precision in few if settings.tiny else ("auto", "fp16", "fp32"):
            name = f"{arch}_{precision}"
            findings.step(f"line_{name}", lambda name=name: _whole_line(place, name, here), needs=5)  # type: ignore[misc]
    for arch in ("unet", "maskrcnn"):
        findings.step(f"first_loss_{arch}", lambda arch=arch: _first_loss(place, arch, here), needs=5)  # type: ignore[misc]
    findings.step("early_stopping", lambda: _early_stopping(place, here), needs=5)
    for arch in ("unet",) if settings.tiny else ("unet", "maskrcnn"):
        findings.step(f"killed_{arch}", lambda arch=arch: _killed(place, f"{arch}_killed", here), needs=20)  # type: ignore[misc]
    findings.step("memory", lambda: _memory(place, here, settings.device), needs=15)
    findings.step("two_processes", lambda: _two_processes(place, here), needs=25)


def parameters(tiny: bool) -> dict[str, Any]:
    """params.yaml: one set of images, and a model for each check."""
    size = [64, 64] if tiny else [96, 128]
    images = {"train": 8, "val": 4, "test": 3} if tiny else {"train": 96, "val": 16, "test": 12}
    unet: dict[str, Any] = {"arch": "unet", "encoder": "mobilenet_v2" if tiny else "resnet18", "input": {"size": size}, "loss": {"cross_entropy": 1.0}}
    maskrcnn: dict[str, Any] = {"arch": "maskrcnn", "encoder": "resnet18", "input": {"size": size}, "anchors": {"sizes": [20, 32, 48, 64, 96], "ratios": [1.0]}}
    if tiny:
        maskrcnn |= {"encoder": "mobilenet_v3_small", "fpn_channels": 32, "predict": {"max_detections": 10}}
        maskrcnn["proposals"] = {"train_before_nms": 50, "train_after_nms": 20, "test_before_nms": 50, "test_after_nms": 10, "rpn_batch": 16, "box_batch": 8}
    epochs = 1 if tiny else _EPOCHS
    rates = {"unet": 0.002, "maskrcnn": 0.0006}
    base = {"unet": unet, "maskrcnn": maskrcnn}
    models: dict[str, Any] = {}
    for arch, entry in base.items():
        common = {"epochs": epochs, "batch_size": 4, "lr": rates[arch], "warmup": 0.5, "clip": 5.0}
        every_device = {"precision": "fp32", "channels_last": False}
        models |= {
            f"{arch}_auto": entry | {"train": common | {"channels_last": True, "ema": 0.9, "accumulate": 2}, "augment": [{"HorizontalFlip": {"p": 0.5}}]},
            f"{arch}_fp16": entry | {"train": common | {"precision": "fp16"}},
            f"{arch}_fp32": entry | {"train": common | every_device},
            f"{arch}_first": entry | {"train": common | every_device | {"epochs": 1}},
            f"{arch}_killed": entry | {"train": common | {"epochs": _KILLED_EPOCHS, "ema": 0.9, "early_stopping": _KILLED_EPOCHS}},
        }
    steady = {"epochs": 6, "batch_size": 4, "lr": 1e-12, "weight_decay": 0, "early_stopping": 1, "ema": 0.9}
    models["unet_steady"] = unet | {"norm": "group", "train": steady}
    models["unet_starved"] = unet | {"input": {"size": [1024, 1024]}, "train": {"epochs": 1, "batch_size": 8 if tiny else 16}}
    # Batch norm would see other batches, and dice is no mean over images: with these two processes compute what one does.
    models["unet_shared"] = unet | {"norm": "group", "train": {"epochs": 2, "batch_size": 4, "lr": 0.0005, "precision": "fp32"}}
    return {
        "seed": 0,
        "data": {"source": "shapes", "size": size, **images},
        "models": models,
        "evaluate": {"overlays": 1, "resamples": 100},
        "export": {"tolerance": 0.001, "latency_runs": 2 if tiny else 20},
    }


def _whole_line(place: Workspace, name: str, here: Runtime) -> Result:
    place.train(name, here)
    summary, rows = place.summary(name), place.rows(name)
    figures = place.evaluate(name, here.accelerator)
    proof = place.export(name)
    metric = proof["metric"]
    agrees = abs(figures[metric] - proof["trained"]) if metric in figures else None
    return {
        # Exported and proved on the CPU: what was trained here is what is deployed elsewhere.
        "passed": bool(proof["passed"]) and (agrees is None or agrees <= 0.005),
        "precision": summary["precision"],
        "device": summary["device"],
        "epochs": len(rows),
        "first_loss": rows[0]["train_loss"],
        "last_loss": rows[-1]["train_loss"],
        "metric": metric,
        "scored_here": figures.get(metric),
        "scored_on_cpu": proof["trained"],
        "onnx": proof["onnx"],
        "parity_difference": proof["difference"],
    }


def _first_loss(place: Workspace, arch: str, here: Runtime) -> Result:
    name = f"{arch}_first"
    losses = {}
    for word, accelerator in (("here", here.accelerator), ("cpu", "cpu")):
        place.train(name, Runtime(accelerator=accelerator, devices=1, workers=here.workers), into=f"{name}_{word}")
        losses[word] = place.rows(f"{name}_{word}")[0]["train_loss"]
    difference = abs(losses["here"] - losses["cpu"]) / abs(losses["cpu"])
    return {"passed": difference <= FIRST_LOSS[arch], **losses, "difference": difference, "tolerance": FIRST_LOSS[arch]}


def _early_stopping(place: Workspace, here: Runtime) -> Result:
    """With a learning rate of nothing the metric stands still, and the training ends after the second validation."""
    place.train("unet_steady", here)
    epochs = len(place.rows("unet_steady"))
    return {"passed": epochs == 2, "epochs": epochs, "expected": 2}


def _killed(place: Workspace, name: str, here: Runtime) -> Result:
    """kill -9 after two epochs; a second start goes on, and every epoch stands in the history once."""
    plan = plans.read(plans.TrainPlan, place.checkout.plan(name).train)
    resumable = ModelFolder(resume.folder_of(place.checkout.resume, name, plan.key))
    first = stage.start(place.checkout.root, name, here)
    try:
        _wait_for_epochs(resumable, 2, first)
    finally:
        first.kill()
    first.communicate()
    kept = resume.begun(resumable.path).epochs
    second = stage.start(place.checkout.root, name, here)
    output, _ = second.communicate()
    assert second.returncode == 0, output[-2000:]
    epochs = [int(row["epoch"]) for row in place.rows(name)]
    said = f"'{name}' goes on after epoch {kept}" in output
    return {
        "passed": first.returncode == -9 and said and epochs == list(range(1, _KILLED_EPOCHS + 1)) and 1 <= kept < _KILLED_EPOCHS,
        "killed_after_epoch": kept,
        "said_that_it_goes_on": said,
        "epochs": str(epochs),
        "resume_folder_removed": not resumable.path.exists(),
    }


def _wait_for_epochs(resumable: ModelFolder, epochs: int, process: Any, limit_s: float = 240.0) -> None:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"The training ended before it could be killed: {process.communicate()[0][-2000:]}")
        if resumable.history.is_file() and len(resumable.history.read_text().splitlines()) > epochs:  # below the names of the columns
            return
        time.sleep(0.05)
    raise RuntimeError(f"The training did not finish {epochs} epochs within {limit_s:g} s.")


def _memory(place: Workspace, here: Runtime, device: str) -> Result:
    """Too large a batch for the memory: exit code 2 and a sentence that names a smaller one."""
    process = stage.start(place.checkout.root, "unet_starved", here, memory_mib=2048 if device == "cuda" else 700)
    output, _ = process.communicate()
    sentence = next((line for line in output.splitlines() if line.startswith("error: ") and "memory is too small" in line), "")
    smaller = "Set train.batch_size: " in sentence
    return {
        "passed": process.returncode == 2 and smaller and "Traceback" not in output,
        "exit_code": process.returncode,
        "sentence": sentence or output[-1500:],
    }


def _two_processes(place: Workspace, here: Runtime) -> Result:
    """Two processes on one device, over gloo: as two nodes of one process each, since Lightning deals out devices and there is one."""
    name, into = "unet_shared", "unet_shared_by_two"
    place.train(name, here)
    two = here.model_copy(update={"nodes": 2, "strategy": stage.GLOO})
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    processes = [stage.start(place.checkout.root, name, two, into=into, environment={**shared, "NODE_RANK": str(rank)}) for rank in (0, 1)]
    outputs = [process.communicate()[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(output[-1500:] for output in outputs)
    summary, summary_of_two = place.summary(name), place.summary(into)
    one_loss, two_loss = (place.rows(which)[0]["train_loss"] for which in (name, into))
    loss = abs(one_loss - two_loss) / abs(one_loss)
    score = abs(float(summary["best"]) - float(summary_of_two["best"]))
    return {
        "passed": summary_of_two["processes"] == 2
        and summary_of_two["global_batch"] == summary["global_batch"]
        and loss <= SHARED_LOSS
        and score <= SHARED_SCORE,
        "metric": summary["metric"],
        "one": summary["best"],
        "two": summary_of_two["best"],
        "difference": score,
        "first_loss_difference": loss,
        "gpus": torch.cuda.device_count(),
    }


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def models_with_onnx(scratch: Path) -> list[Path]:
    """Model folders of this part that were exported, for part 4."""
    models = scratch / "works" / "models"
    return [folder for name in ("unet_auto", "maskrcnn_auto") if (folder := models / name).joinpath("model.onnx").is_file()]
