"""params.yaml: every mistake gets its sentence, all at once; YAML 1.2 numbers; flattening."""

from __future__ import annotations

from pathlib import Path

import pytest

from segline import params
from segline.errors import ParametersError

ROOT = Path(__file__).resolve().parents[2]


def problems(tmp_path: Path, text: str) -> str:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(ParametersError) as error:
        params.read(file)
    return "\n".join(error.value.problems)


def test_the_shipped_file_is_valid() -> None:
    settings = params.read(ROOT / "params.yaml")
    assert set(settings.models) == {"unet", "maskrcnn"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("epochs: 14, batch_size: 8", "epochs: 14, batchsize: 8", "models.unet.train.batchsize is no known key; did you mean 'batch_size'?"),
        ("seed: 0", "sed: 0", "sed is no known key; did you mean 'seed'?"),
        ("lr: 0.002", 'lr: "0.002"', "models.unet.train.lr is '0.002': input should be a valid number"),
        ("lr: 0.002", "lr: -1", "greater than 0"),
        ("lr: 0.002", "lr: .inf", "finite"),
        ("epochs: 14, ", "epochs: 14, validate_every: 15, ", "models.unet.train: validate_every is 15 and epochs 14"),
        ("opset: 18", "opset: true", "export.opset is True: input should be a valid integer"),
        ("dice: 1.0", "dise: 1.0", "Did you mean 'dice'?"),
        ("arch: maskrcnn", "arch: maskrcn", "models.maskrcnn.arch is 'maskrcn'; it must be 'maskrcnn'"),
        ("root: data/own", "root: null", "data.root is empty (null)"),
        ("dataset: shapes", "dataset: folder\n  root: nowhere/at/all", "duplicate key"),
        ("  unet:\n", "  Un et:\n", "'Un et' is no valid model name"),
        ("val: 0.15, test: 0.15", "val: 0.5, test: 0.5", "val + test is 1"),
        ("promote:                     #", "promote: {nobody: {}}\nignored: #", "promote.nobody: there is no model 'nobody'"),
    ],
)
def test_a_mistake_gets_its_sentence(tmp_path: Path, old: str, new: str, expected: str) -> None:
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    if expected.startswith("promote"):
        text = text[: text.index("promote:")] + "promote: {nobody: {}}\n"
        new, old = "", "\0"
    assert expected in problems(tmp_path, text.replace(old, new, 1))


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    assert "the folder 'nowhere' does not exist" in problems(tmp_path, "data: {dataset: folder, root: nowhere}\nmodels: {a: {task: semantic}}")


def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    told = problems(tmp_path, "sed: 1\ndata: {rot: x}\nmodels:\n  Bad Name: {task: semantic, encodr: x}\n  b: {task: nothing}\n")
    for part in ("sed", "data.rot", "'Bad Name' is no valid", "did you mean 'encoder'", "models.b.task is 'nothing'"):
        assert part in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("models:", "at least one model"),
        ("models: {}", "at least one model"),
        ("seed: 1", "models is missing"),
        ("a: [", "not valid YAML at line 1"),
        ("a:\n\t- b", "not valid YAML at line 2"),
        ("- 1", "holds no sections"),
        ("", "holds no sections"),
        ("models: {x: {}}", "models.x.task is missing"),
        ("models: {x: 3}", "models.x is 3"),
    ],
)
def test_a_broken_file_gets_a_sentence(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in problems(tmp_path, text)


def test_a_missing_file_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ParametersError, match="does not exist"):
        params.read(tmp_path / "params.yaml")


def test_numbers_as_dvc_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("models: {x: {task: semantic, train: {lr: 1e-05}}}")
    assert params.read(file).models["x"].train.lr == 1e-5


def test_an_unknown_model_names_the_nearest() -> None:
    settings = params.read(ROOT / "params.yaml")
    with pytest.raises(ParametersError, match="Did you mean 'unet'"):
        params.select(settings, "une")


def test_flattened_for_mlflow() -> None:
    flat = params.flatten(params.read(ROOT / "params.yaml").models["unet"])
    assert flat["train.lr"] == 0.002
    assert flat["loss.dice"] == 1.0
    assert flat["augment"] == '[{"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}}]'


def test_the_data_name() -> None:
    models = {"x": {"task": "semantic"}}
    assert params.Params.model_validate({"models": models}).data_name() == "shapes"
    folder = {"dataset": "folder", "root": "/x/My Photos-2"}
    assert params.Params.model_validate({"models": models, "data": folder}).data_name() == "my_photos_2"
