"""Requests as MLflow's server hands them to a registered model: what is answered, and what is refused with which status and sentence."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from model_parts import semantic_onnx
from PIL import Image

from segline.registry import packaging
from segline_runtime import pyfunc
from segline_runtime.pyfunc import RequestError, limit_of_server, sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pyfunc")
    semantic_onnx(root / "model.onnx")
    packaging.save(file=root / "model.onnx", target=root / "model")
    return root / "model"


@pytest.fixture
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The model, loaded as the server loads it."""
    monkeypatch.setattr(scoring_server, "invocations", scoring_server.invocations)  # put back afterwards
    return mlflow.pyfunc.load_model(str(folder))


def ask(model: Any, content: Any, kind: str | None = "application/json") -> tuple[int, Any]:
    """Status and answer, by MLflow's own function for a request's body."""
    body = content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else json.dumps(content).encode()
    try:
        answer = scoring_server.invocations(body, kind, model, model.metadata.get_input_schema())
    except MlflowException as error:
        return error.get_http_status_code(), json.loads(error.serialize_as_json())
    return answer.status, json.loads(answer.response) if answer.mimetype == "application/json" else answer.response


def text(height: int = 4, width: int = 5) -> str:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 1, 1)).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


ROWS = np.zeros((4, 5, 3), int).tolist()
WIDE = np.zeros((4, 6, 3), int).tolist()


@pytest.mark.parametrize(
    "content",
    [
        {"inputs": {"image": [text(), text()]}},
        {"inputs": [text(), text()]},
        {"inputs": [{"image": text()}, {"image": text()}]},
        {"instances": [{"image": text()}, {"image": text()}]},
        {"instances": [text(), text()]},
        {"dataframe_records": [{"image": text()}, {"image": text()}]},
        {"dataframe_records": [{"image": text(), "place": "here"}, {"image": text()}]},  # a table may have columns of its own
        {"dataframe_split": {"columns": ["image"], "data": [[text()], [text()]]}},
        {"inputs": [ROWS, ROWS]},
        {"inputs": {"image": [ROWS, ROWS]}},
        {"dataframe_records": [{"image": ROWS}, {"image": ROWS}]},
        {"inputs": [f"data:image/png;base64,{text()}", text()]},
    ],
)
def test_every_form_of_a_request(served: Any, content: Any) -> None:
    status, answer = ask(served, content)
    assert status == 200, answer
    assert [found["size"] for found in answer["predictions"]] == [[4, 5]] * 2


def test_a_table_may_hold_arrays_of_several_sizes(served: Any) -> None:
    status, answer = ask(served, {"dataframe_records": [{"image": ROWS}, {"image": WIDE}]})
    assert (status, [found["size"] for found in answer["predictions"]]) == (200, [[4, 5], [4, 6]])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"instances": [{"image": text()}, {"picture": text()}]}, 'has picture besides "image"'),
        ({"inputs": [{"image": text()}, {"picture": text()}]}, 'no "image", only picture'),
        ({"inputs": {"image": [text()], "b": 1}}, 'has b besides "image"'),
        ({"inputs": {"picture": [text()]}}, 'no "image", only picture'),
        ({"inputs": {}}, 'no "image", only nothing'),
        ({"inputs": {"image": [text()], **{"k" * 300 + str(i): 1 for i in range(9)}}}, "…, … besides"),
        ({"inputs": [{"image": text()}, text()]}, "Item 1 is no object"),
        ({"instances": [{"image": text()}, text()]}, 'send {"inputs"'),
        ({"dataframe_records": [{"image": text()}, {"picture": text()}]}, "Image 1: An image of type float cannot be used"),
        ({"inputs": []}, "holds no image"),
        ({"inputs": None}, "NoneType cannot be used"),
        ({"inputs": 3}, "has the shape ()"),
        ({"inputs": {"image": {"image": text()}}}, "type dict cannot be used"),
        ({"inputs": {"image": ["é"]}}, "not base64"),
        ('{"inputs": {"image": ["\\ud800"]}}', "not base64"),
        ({"inputs": {"image": [base64.b64encode(b"MZ" + bytes(90)).decode()]}}, "Image 0: The base64 text is not an image"),
        ({"inputs": [ROWS, WIDE]}, "Images of several sizes"),
        ({"inputs": {"image": [ROWS, text()]}}, "arrays beside texts"),
        ({"dataframe_records": [{"image": [[1, 2], [3]]}]}, "not of one length"),
        ({"dataframe_records": [{"image": [[10**400]]}]}, "type int cannot be used"),
        ('{"inputs": ' + "[" * 900 + "1" + "]" * 900 + "}", "nested too deeply"),
        ('{"inputs": ' + "[" * 100_000 + "1" + "]" * 100_000 + "}", "nested too deeply"),
        ('{"inputs": [[' + "1" * 5000 + "]]}", "cannot be read"),
        ('{"inputs": "' + "A" * 100_000, 'send {"inputs"'),
        (b'{"inputs": "\xff"}', 'send {"inputs"'),
        ("[]", 'send {"inputs"'),
    ],
)
def test_what_cannot_be_used_gets_a_sentence(served: Any, content: Any, sentence: str) -> None:
    status, answer = ask(served, content)
    assert (status, sentence in answer["message"]) == (400, True), answer["message"]
    assert len(answer["message"]) < 1500, "an answer does not repeat the request"
    assert "stack_trace" not in answer


def test_a_request_without_a_kind_is_told_which_there_are(served: Any) -> None:
    status, answer = ask(served, {"inputs": [text()]}, None)
    assert (status, "only supports the following content types" in answer) == (415, True)


def test_csv(served: Any) -> None:
    assert ask(served, f"image\n{text()}\n", "text/csv")[0] == 200
    status, answer = ask(served, "image\nnothing\n", "text/csv")
    assert (status, "Image 0: The text is not base64" in answer["message"]) == (400, True)


def test_parquet_that_is_none(served: Any) -> None:
    status, answer = ask(served, b"no parquet", "application/vnd.apache.parquet")
    assert (status, "Parquet" in answer["message"], "stack_trace" in answer) == (400, True, False)


def test_too_many_megapixels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pyfunc.LIMIT, "0.00002")
    model = mlflow.pyfunc.load_model(str(folder))
    assert ask(model, {"inputs": [text()]})[0] == 200
    for content in ({"inputs": [text(), text(5, 5)]}, {"inputs": [WIDE]}, {"inputs": [npy(np.zeros((4, 6, 3), np.uint8))]}):
        status, answer = ask(model, content)
        assert status == 413
        assert "megapixels" in answer["message"] and "SEGLINE_MAX_MEGAPIXELS" in answer["message"]


def npy(array: np.ndarray) -> str:
    file = io.BytesIO()
    np.save(file, array)
    return base64.b64encode(file.getvalue()).decode()


def test_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # put back afterwards
    monkeypatch.delenv(pyfunc.LIMIT, raising=False)
    assert limit_of_server() == 64_000_000
    monkeypatch.setenv(pyfunc.LIMIT, "500")
    assert limit_of_server() == 500_000_000 == Image.MAX_IMAGE_PIXELS
    for word in ("many", "nan", "-1", "0", "inf", "0,5"):
        monkeypatch.setenv(pyfunc.LIMIT, word)
        with pytest.raises(MlflowException, match=f"SEGLINE_MAX_MEGAPIXELS is '{word}'; set it to a number"):
            limit_of_server()


def test_a_prediction_that_finds_no_memory(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = served.unwrap_python_model()
    monkeypatch.setattr(model, "predictor", Failing(model.predictor, MemoryError()))
    status, answer = ask(served, {"inputs": [text()]})
    assert (status, "more memory than the server has" in answer["message"]) == (413, True)
    monkeypatch.setattr(model, "predictor", Failing(model.predictor, KeyError("a bug")))
    assert "stack_trace" in ask(served, {"inputs": [text()]})[1], "a bug is told as one"


def test_a_value_error_of_our_own_is_no_mistake_of_the_requests(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = served.unwrap_python_model()
    with monkeypatch.context() as patched:
        patched.setattr(model, "predictor", Failing(model.predictor, ValueError("a bug")))
        assert "stack_trace" in ask(served, {"inputs": [text()]})[1]
    circle: list[Any] = []
    circle.append(circle)
    monkeypatch.setattr(model, "predict", lambda model_input, params=None: [{"size": circle}])  # noqa: ARG005
    with pytest.raises(ValueError, match="Circular reference"):  # of which the server makes HTTP 500
        ask(served, {"inputs": [text()]})


def test_the_parsers_are_mlflows() -> None:
    assert all(hasattr(scoring_server, name) for name in pyfunc._PARSERS)


def test_an_image_whose_decoding_finds_no_memory(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "crop", failing)
    status, answer = ask(served, {"inputs": [text()]})
    assert (status, "more memory than the server has" in answer["message"]) == (413, True)


class Failing:
    """A predictor that cannot."""

    def __init__(self, predictor: Any, error: Exception) -> None:
        self.specification = predictor.specification
        self.error = error

    def __call__(self, image: np.ndarray) -> Any:  # noqa: ARG002
        raise self.error


def test_in_python() -> None:
    assert len(sources(pandas.DataFrame({"image": [b"a", b"b"], "other": [1, 2]}))) == 2
    assert sources(pandas.DataFrame({"image": []})) == [], "Spark asks for empty parts"
    assert [array.shape for array in sources(np.zeros((2, 4, 5, 3), np.uint8))] == [(4, 5, 3)] * 2
    with pytest.raises(RequestError, match='no "image", only picture'):
        sources(pandas.DataFrame({"picture": [b"a"]}))


def test_other_servers_are_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where MLflow's server is not running, or is built otherwise, a model loads and predicts all the same."""
    for server in (None, object()):
        monkeypatch.setitem(sys.modules, "mlflow.pyfunc.scoring_server", server)
        model = mlflow.pyfunc.load_model(str(folder))
        assert model.predict([text()])[0]["size"] == [4, 5]
