"""Damaged requests to a registered model: in this process through MLflow's own function for a request's body, and some to `mlflow models serve`.

    python benchmarks/hostile/http_requests.py [cases] [cases for the server]

(The name is not `requests`: scripts beside it import the package of that name.) A refusal counts as a sentence when its status is 4xx and it has a short
message; 5xx, an answer with MLflow's `stack_trace`, and one that repeats the request are findings.
"""

from __future__ import annotations

import base64
import gc
import io
import json
import logging
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from campaign import ROOT, Case, campaign, write
from mutations import damaged_bytes, damaged_tree
from PIL import Image

from segline_runtime.errors import InputError

SEED = 6
CASES, SERVED = 2000, 40
SECONDS, MIB = 20.0, 2048
LONGEST = 3000
"""Characters of a refusal."""

KINDS = ("application/json", "application/json; charset=utf-8", "text/csv", "application/vnd.apache.parquet", "text/plain", "", None)
Invoke = Callable[[bytes, str | None], tuple[int, str]]


def trees() -> list[Any]:
    """Requests that are answered, one for each form."""
    one, two = picture(24, 32), picture(17, 9)
    rows = np.zeros((4, 5, 3), int).tolist()
    return [
        {"inputs": {"image": [one, two]}},
        {"inputs": [one, two]},
        {"inputs": [{"image": one}, {"image": two}]},
        {"instances": [{"image": one}, {"image": two}]},
        {"instances": [one]},
        {"dataframe_records": [{"image": one}, {"image": two}]},
        {"dataframe_split": {"columns": ["image"], "index": [0, 1], "data": [[one], [two]]}},
        {"inputs": rows},
        {"inputs": {"image": [rows, rows]}},
        {"dataframe_records": [{"image": rows}]},
        {"inputs": {"image": [one]}, "params": {"a": 1}},
    ]


def fixed() -> dict[str, bytes]:
    """Bodies that no damage is likely to make."""
    deep = {f"{depth} {kind}s deep": "[" * depth + "]" * depth for depth in (30, 64, 65, 500, 990, 5000, 1_000_000) for kind in ("list",)}
    deep |= {f"{depth} objects deep": '{"image":' * depth + "1" + "}" * depth for depth in (2, 30, 500, 5000)}
    texts = {name: '{"inputs": ' + value + "}" for name, value in deep.items()}
    texts |= {name: '{"inputs": {"image": ' + value + "}}" for name, value in deep.items()}
    texts |= {
        "nothing": "",
        "a list": "[]",
        "a number of 5000 digits": '{"inputs": [[' + "1" * 5000 + "]]}",
        "half a surrogate": '{"inputs": ["\\ud800"]}',
        "a key of half a surrogate": '{"inputs": {"\\ud800": 1}}',
        "numbers that are none": '{"inputs": [[[NaN, Infinity, 1]]]}',
        "a million empty lists": '{"inputs": [' + ",".join(["[]"] * 1_000_000) + "]}",
        "10^6 texts": '{"inputs": [' + ",".join(['""'] * 1_000_000) + "]}",
        "8000 x 8001": json.dumps({"inputs": [picture(8000, 8001)]}),
        "20000 x 20000": json.dumps({"inputs": [picture(20000, 20000, "1")]}),
    }
    return {name: text.encode() for name, text in texts.items()}


def bodies(count: int, random: np.random.Generator) -> Iterator[tuple[str, bytes, str | None]]:
    """Name, body and content type of `count` damaged requests."""
    requests = trees()
    content = base64.b64decode(picture(24, 32))
    for number in range(count):
        tree = requests[number % len(requests)]
        way = number % 4
        kind: str | None = KINDS[0]
        if way == 0:
            name, body = "bytes", damaged_bytes(json.dumps(tree).encode(), random)
        elif way == 1:
            name, body = "image", json.dumps({"inputs": [base64.b64encode(damaged_bytes(content, random)).decode()]}).encode()
        else:
            changed, name = damaged_tree(tree, random)
            body = json.dumps(changed).encode()
        if number % 50 == 49:
            kind = KINDS[int(random.integers(len(KINDS)))]
            name = f"{name}, sent as {kind}"
        yield f"{number}: {name}", body, kind


def cases(invoke: Invoke, count: int) -> Iterator[Case]:
    for name, body in fixed().items():
        yield name, partial(judged, invoke, body, KINDS[0])
    for name, body, kind in bodies(count, np.random.default_rng(SEED)):
        yield name, partial(judged, invoke, body, kind)


def judged(invoke: Invoke, body: bytes, kind: str | None) -> None:
    """Raises InputError for a refusal as it should be, AssertionError for any other that is none of the answers allowed."""
    status, text = invoke(body, kind)
    if status == 200:
        return
    assert 400 <= status < 500, f"{status}: {text[:LONGEST]}"
    assert "stack_trace" not in text, text[:LONGEST]
    assert 10 < len(text) < LONGEST, f"{len(text)} characters: {text[:LONGEST]}"
    raise InputError(text)


def save_model(folder: Path) -> Path:
    """A registered model's folder, made from an ONNX file of a few nodes."""
    sys.path.append(str(ROOT / "tests"))
    from model_parts import semantic_onnx

    from segline.registry import packaging

    semantic_onnx(folder / "model.onnx")
    packaging.save(file=folder / "model.onnx", target=folder / "model")
    return folder / "model"


def in_process(model: Path) -> Invoke:
    """MLflow's function for a request's body, on the model loaded as the server loads it."""
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import scoring_server

    from segline_runtime.predictor import Predictor

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    loaded = mlflow.pyfunc.load_model(str(model))
    # Threads do not survive the fork that each case runs in.
    loaded.unwrap_python_model().predictor = Predictor(model.parent / "model.onnx", threads=1)

    def invoke(body: bytes, kind: str | None) -> tuple[int, str]:
        try:
            answer = scoring_server.invocations(body, kind, loaded, None)
        except MlflowException as error:
            return error.get_http_status_code(), error.serialize_as_json()
        return answer.status, answer.response

    return invoke


def over_http(address: str, body: bytes, kind: str | None) -> tuple[int, str]:
    request = urllib.request.Request(address, body, {} if kind is None else {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def served(model: Path, count: int) -> dict[str, Any]:
    """The same kinds of requests to a real server: how many had each status, which were not as they should be, and the most memory that it held."""
    from servers import model_server

    statuses: Counter[int] = Counter()
    findings: list[str] = []
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    with model_server(str(model), model.parent, environment) as server:
        address = f"{server.address}/invocations"
        over_http(address, json.dumps({"inputs": [picture(24, 32)]}).encode(), KINDS[0])
        before = _peak_mib(server.group)
        tried = [(name, body, KINDS[0]) for name, body in fixed().items()] + list(bodies(count, np.random.default_rng(SEED + 1)))
        for name, body, kind in tried:
            try:
                judged(partial(over_http, address), body, kind)
                statuses[200] += 1
            except InputError:
                statuses[over_http(address, body, kind)[0]] += 1
            except (AssertionError, OSError) as error:
                findings.append(f"{name}: {error}")
        small = _peak_mib(server.group)
        large = json.dumps({"inputs": [picture(8000, 8000)]}).encode()
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: over_http(address, large, KINDS[0])[0], range(4)))
        return {
            "requests": len(tried),
            "statuses": {str(status): number for status, number in sorted(statuses.items())},
            "findings": findings,
            "peak_mib": {"after one small image": before, "after all of these": small, "after 4 at once of 8000x8000": _peak_mib(server.group)},
            "statuses_8000x8000": answers,
        }


def picture(height: int, width: int, mode: str = "RGB") -> str:
    """A PNG of one colour, base64."""
    stream = io.BytesIO()
    Image.new(mode, (width, height), 1).save(stream, "png")
    return base64.b64encode(stream.getvalue()).decode()


def _peak_mib(group: int) -> int:
    """The most memory that one of a process group's processes held."""
    peaks = [0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if os.getpgid(int(status.parent.name)) == group:
                peaks += [int(line.split()[1]) // 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        except OSError:  # it ended meanwhile
            continue
    return max(peaks)


if __name__ == "__main__":
    counts = [int(word) for word in sys.argv[1:]] + [CASES, SERVED][len(sys.argv) - 1 :]
    with tempfile.TemporaryDirectory(prefix="segline-hostile-") as temporary:
        saved = save_model(Path(temporary))
        invoke = in_process(saved)
        gc.freeze()  # the forks then share what is loaded
        result = campaign(cases(invoke, counts[0]), seconds=SECONDS, mib=MIB)
        write("http_requests", result, seed=SEED, bounds={"seconds": SECONDS, "mib": MIB}, server=served(saved, counts[1]))
