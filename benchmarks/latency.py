"""One image through PyTorch and through ONNX Runtime, in turns, in one process: how much faster is the exported model?

    python benchmarks/latency.py [ROUNDS]

Networks with random weights, ResNet-18 encoders, an image of 360 × 480; Mask R-CNN once with 100 objects found and once with none (then no mask is drawn).
Each round asks every way once, with as many threads as there are cores and with one; the first rounds are not counted. `wall` is what a user waits,
`cpu` what the machine pays: where other work shares the cores, only the latter and the ratios mean something. Waiting threads of ONNX Runtime sleep, as
`segline_runtime.predictor` has it, those of PyTorch spin. Held against the limit: ONNX Runtime's share of PyTorch's time. Beside it stand the operators
that ONNX Runtime spends its time in, and the least: what would be left if all products of the exported network were computed at the rate of a convolution that
suits this machine best (`roof`: the better of both libraries), and nothing else took time. Before each call the threads of the other way have gone to sleep.
The result is `benchmarks/latency.json`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import results
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch.utils.flop_counter import FlopCounterMode

from segline.export.faster import faster
from segline.export.onnx import write_onnx
from segline.machine import cores
from segline.models import catalog
from segline.tasks import catalog as tasks
from segline.tasks.graph import EvalGraph
from segline_runtime.predict import predict
from segline_runtime.predictor import INPUT, Predictor
from segline_runtime.specification import ClassInfo, Geometry, Specification

SIZE = (360, 480)
LIMIT = 0.7
NOT_COUNTED = 2
ROUNDS = 10
OPSET = 18
ASLEEP_S = 0.1
"""After which no thread of the other way spins any more."""
PROFILED_RUNS, OPERATORS = 4, 8

CASES: dict[str, tuple[str, str, int, dict[str, Any]]] = {
    "unet": ("unet", "stretch", 12, {}),
    "maskrcnn, no objects": ("maskrcnn", "shorter_side", 4, {"norm": "frozen", "predict": {"score_threshold": 0.999}}),
    "maskrcnn, 100 objects": ("maskrcnn", "shorter_side", 4, {"norm": "frozen", "predict": {"score_threshold": 0.0}}),
}
"""Architecture, fit, classes, settings."""

Way = Callable[[], object]


def main(rounds: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory(prefix="segline-benchmark-") as folder:
        roof = {f"{count} threads": _roof(count) for count in sorted({cores(), 1})}
        cases = {name: _measured(graph(*case), Path(folder) / "model.onnx", image, sorted({cores(), 1}), rounds) for name, case in CASES.items()}
    result = {
        "image_size": list(SIZE),
        "rounds": rounds,
        "limit": LIMIT,
        "roof_gflop_per_s": {name: round(rate, 1) for name, rate in roof.items()},
        "cases": cases,
    }
    for case in cases.values():
        for name, rate in roof.items():
            case[name]["least_share_of_torch"] = round(1000 * case["gflop"]["onnxruntime"] / rate / case[name]["torch"]["wall_ms"], 3)
    results.write(results.beside(__file__), result)


def graph(arch: str, fit: str, classes: int, changes: dict[str, Any]) -> EvalGraph:
    settings = catalog.settings(arch).model_validate({"arch": arch, "encoder": "resnet18", "weights": "none", **changes})
    torch.manual_seed(0)
    network = catalog.build(settings, channels=3, classes=classes)
    infos = tuple(ClassInfo(i, f"class {i}", (i, 0, 0), i > 0) for i in range(classes))
    specification = Specification(settings.task, arch, "random", infos, Geometry(fit, SIZE), (0.4, 0.5, 0.6), (0.2, 0.2, 0.2))  # type: ignore[arg-type]
    return tasks.learning(settings.task).graph(network, specification)


def _measured(trained: EvalGraph, file: Path, image: NDArray[np.uint8], threads: list[int], rounds: int) -> dict[str, Any]:
    write_onnx(trained, trained.specification, file, OPSET)
    exported = faster(trained, torch.from_numpy(image[None]))
    gflop = {}
    for name, one in (("torch", trained), ("onnxruntime", exported)):
        with FlopCounterMode(display=False) as counter:
            predict(one.run, trained.specification, image)
        gflop[name] = round(counter.get_total_flops() / 1e9, 1)
    found: dict[str, Any] = {"gflop": gflop}
    for count in threads:
        torch.set_num_threads(count)
        predictor = Predictor(file, providers=["CPUExecutionProvider"], threads=count)
        ways: dict[str, Way] = {
            "torch": lambda: predict(trained.run, trained.specification, image),
            "onnxruntime": lambda predictor=predictor: predictor(image),  # type: ignore[misc]
        }
        if trained.specification.task == "semantic":
            ways["onnxruntime, with probabilities"] = lambda predictor=predictor: predictor(image, probabilities=True)  # type: ignore[misc]
        figures = _alternating(ways, rounds)
        shares = {kind: round(figures["onnxruntime"][kind] / figures["torch"][kind], 3) for kind in ("wall_ms", "cpu_ms")}
        found[f"{count} threads"] = {**figures, "share_of_torch": shares, "within_limit": shares["wall_ms"] <= LIMIT}
    found["operators_ms"] = _operators(file, image)
    return found


def _alternating(ways: dict[str, Way], rounds: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of each way."""
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(NOT_COUNTED + rounds):
        for name, way in ways.items():
            time.sleep(ASLEEP_S)
            wall, cpu = time.perf_counter(), time.process_time()
            way()
            times[name].append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
    return {name: dict(zip(("wall_ms", "cpu_ms"), np.median(spent[NOT_COUNTED:], axis=0).round(1).tolist(), strict=True)) for name, spent in times.items()}


def _roof(threads: int) -> float:
    """The most GFLOP (products and sums) per second of a 3×3 convolution of 256 channels, by ONNX Runtime or PyTorch."""
    channels, side = 256, 64
    shapes = {"x": (1, channels, side, side), "w": (channels, channels, 3, 3), "y": (1, channels, side, side)}
    random = np.random.default_rng(0)
    given = {name: random.random(shapes[name], dtype=np.float32) for name in "xw"}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in "xy")
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    model = helper.make_model(
        helper.make_graph([node], "convolution", [x], [y], [numpy_helper.from_array(given["w"], "w")]),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=10,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    torch.set_num_threads(threads)
    tensors = {name: torch.from_numpy(value) for name, value in given.items()}
    ways: list[Way] = [lambda: session.run(None, {"x": given["x"]}), lambda: torch.nn.functional.conv2d(tensors["x"], tensors["w"], padding=1)]
    best = float("inf")
    for way in ways:
        for _ in range(20):
            start = time.perf_counter()
            way()
            best = min(best, time.perf_counter() - start)
    return 2e-9 * channels * channels * 9 * side * side / best


def _operators(file: Path, image: NDArray[np.uint8]) -> dict[str, float]:
    """Milliseconds that ONNX Runtime spends in each kind of operator for one image, on one thread, the most expensive first."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(file.with_suffix(""))
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    for _ in range(PROFILED_RUNS):
        session.run(None, {INPUT: image[None]})
    spent: dict[str, float] = defaultdict(float)
    for event in json.loads(Path(session.end_profiling()).read_text()):
        if event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"] / 1000 / PROFILED_RUNS
    most = sorted(spent.items(), key=lambda item: -item[1])[:OPERATORS]
    return {name: round(value, 2) for name, value in most}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
