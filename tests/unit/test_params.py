"""params.yaml: every mistake gets its sentence, all at once, however deep; YAML 1.2 numbers; flattening."""

from __future__ import annotations

from pathlib import Path

import pytest

from segline import choices, params
from segline.data.formats.catalog import FORMATS
from segline.errors import ParametersError
from segline.models.semantic_settings import SemanticSettings

ROOT = Path(__file__).resolve().parents[2]


def problems(tmp_path: Path, text: str) -> str:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(ParametersError) as error:
        params.read(file)
    return "\n".join(error.value.problems)


def read(tmp_path: Path, text: str) -> params.Params:
    (tmp_path / "params.yaml").write_text(text if "data:" in text else f"data: {{source: shapes}}\n{text}")
    return params.read(tmp_path / "params.yaml")


def test_the_shipped_file_is_valid() -> None:
    settings = params.read(ROOT / "params.yaml")
    assert {name: model.task for name, model in settings.models.items()} == {"unet": "semantic", "maskrcnn": "instance"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("batch_size: 8", "batchsize: 8", "models.unet.train.batchsize is no known key; did you mean 'batch_size'?"),
        ("seed: 0", "sed: 0", "sed is no known key; did you mean 'seed'?"),
        ("lr: 0.002", 'lr: "0.002"', "models.unet.train.lr is '0.002': input should be a valid number"),
        ("lr: 0.002", "lr: -1", "greater than 0"),
        ("lr: 0.002", "lr: .inf", "finite"),
        ("opset: 18", "opset: true", "export.opset is True: input should be a valid integer"),
        ("dice: 1.0", "dise: 1.0", "models.unet.loss.dise is no known key; did you mean 'dice'?"),
        ("dice: 1.0", "dice: {wait: 1.0}", "models.unet.loss.dice.wait is no known key; did you mean 'weight'?"),
        ("{cross_entropy: 1.0, dice: 1.0}", "{dice: 0.0}", "models.unet.loss: at least one loss needs a weight above 0."),
        (
            "weights: none\n    input: {size: [96, 128]} #",
            "multilabel: sometimes\n    input: {size: [96, 128]} #",
            "models.unet.multilabel is 'sometimes': input should be a valid boolean",
        ),
        (
            "weights: none\n    input: {size: [96, 128]} #",
            "multilabel: true\n    input: {size: [96, 128]} #",
            "models.unet: loss.cross_entropy takes each pixel for one of a single class, and with `multilabel: true` it may be of several; "
            "use binary_cross_entropy, binary_focal, dice, jaccard, tversky or lovasz.",
        ),
        ("arch: maskrcnn", "arch: maskrcn", "models.maskrcnn.arch: There is no architecture 'maskrcn'. Did you mean maskrcnn?"),
        ("anchors: {sizes: [20, ", "anchors: {sizes: [", "models.maskrcnn.anchors: sizes has 4 entries; the feature pyramid has 5 levels"),
        ("anchors: {sizes", "anchors: {szes", "models.maskrcnn.anchors.szes is no known key; did you mean 'sizes'?"),
        ("rpn_batch: 64", "rpn_btch: 64", "models.maskrcnn.proposals.rpn_btch is no known key; did you mean 'rpn_batch'?"),
        ("encoder: resnet18\n    weights: none\n    input: {size: [96, 128]} #", "encodr: resnet18\n    input: {size: [96, 128]} #", "did you mean 'encoder'?"),
        (
            "input: {size: [96, 128]} #",
            "input: {size: big} #",
            "models.unet.input.size is 'big'; it must be [height, width] in pixels (each 32 to 8192), or auto",
        ),
        ("input: {size: [96, 128]} #", "input: {size: [9, 128]} #", "models.unet.input.size is [9, 128]; it must be [height, width]"),
        (
            "input: {size: [96, 128]} #",
            "input: {fit: squeeze} #",
            "models.unet.input.fit is 'squeeze'; it must be 'stretch', 'shorter_side', 'letterbox', 'native' or 'auto'",
        ),
        ("input: {size: [96, 128]} #", "input: {fit: native, size: [96, 128]} #", "`fit: native` keeps each image's own size"),
        ("input: {size: [96, 128]} #", "input: {tile: {size: [256, 256]}} #", "tile needs `fit: native`"),
        ("input: {size: [96, 128]} #", "input: {fit: native, tile: {size: [64, 64], overlap: 32}} #", "the overlap must stay below half"),
        ("input: {size: [96, 128]} #", "input: {mean: [0.5, 0.5, 0.5]} #", "mean and std belong together"),
        (
            "- Rotate: {limit: [180, 180], p: 0.5}",
            "- {HorizontalFlip: {p: 0.5}, VerticalFlip: {}}",
            "models.unet.augment.0: each entry is one transform's name",
        ),
        ("source: shapes ", "sorce: shapes #", "data.source is missing"),
        ("  train: 400", "  trane: 400", "data.trane is no known key; did you mean 'train'?"),
        ("  unet:\n", "  Un et:\n", "'Un et' is no valid model name"),
        ("  devices: auto", "  devices: many", "runtime.devices is 'many'; it must be a number of devices, or auto."),
        ("metric: miou,", "metrc: miou,", "promote.unet.metrc is no known key; did you mean 'metric'?"),
        ("  maskrcnn: {metric", "  nobody: {metric", "promote.nobody: there is no model 'nobody'"),
        ("  overlays: 4", "  metrics: [dise]", "evaluate.metrics: there is no metric 'dise'. Did you mean dice?"),
        ("  workers: auto", "  lightning: {limit_train_batches: 0.1}", "runtime: lightning.limit_train_batches is none of the arguments that change no result"),
        ("  overlays: 4", "  overlays: null", "evaluate.overlays is empty (null)"),
        ("  overlays: 4", "  metrics: []", "evaluate.metrics is empty"),
        ("  overlays: 4", "  metrics: [dice, dice]", "evaluate.metrics names dice more than once"),
        ("lr: 0.002", "lr: '0,002'", "models.unet.train.lr is '0,002'; write decimals with a point and without quotes: 0.002."),
        ("lr: 0.002", "lr: 0,002", "decimals are written with a point"),
        ("ratios: [1.0]", "ratios: []", "models.maskrcnn.anchors.ratios is []"),
        ("at_least: 0.8", "at_least: .nan", "promote.unet.at_least is .nan, which is no finite number"),
        ("at_least: 0.8", "at_least: -.inf", "promote.unet.at_least is -.inf, which is no finite number"),
    ],
)
def test_a_mistake_gets_its_sentence(tmp_path: Path, old: str, new: str, expected: str) -> None:
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    assert expected in problems(tmp_path, text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("{source: DIR, format: coc}", f"data.format: There is no format 'coc'; the formats are {', '.join(FORMATS)}. Did you mean coco?"),
        ("{source: DIR, format: coco, ignore: [1]}", "data.ignore is no known key"),
        ("{source: DIR, format: camvid, splits: {val: 0.5, test: 0.5}}", "data.splits: val + test is 1"),
        ("{source: DIR, format: camvid, classes: []}", "data.classes is empty"),
        ("{source: DIR, format: coco, classes: [a, b, a]}", "data.classes names a more than once"),
        ("{source: DIR, format: camvid, name: My Data}", "data.name: 'My Data' must be lower-case letters"),
        ("{source: shapes, format: coco}", "data.format is no known key"),
    ],
)
def test_a_source_has_the_keys_of_its_format_and_no_other(tmp_path: Path, data: str, expected: str) -> None:
    assert expected in problems(tmp_path, f"data: {data.replace('DIR', str(tmp_path))}\nmodels: {{a: {{arch: unet}}}}")


def test_a_folder_that_is_not_here_is_no_mistake_of_the_file(tmp_path: Path) -> None:
    """Who pulled the results without the images can still promote and predict."""
    assert read(tmp_path, "data: {source: /nowhere/photos}\nmodels: {a: {arch: unet}}").data_name() == "photos"


def test_a_suggestion_is_never_what_was_written() -> None:
    words = ("adamw", "adam", "sgd")
    assert choices.nearest("adamw", words) == "adam"
    assert choices.hint("adamw", [*words, "adam"]) == "Did you mean adam?"


def test_a_long_value_is_told_in_short(tmp_path: Path) -> None:
    assert all(len(sentence) < 500 for sentence in problems(tmp_path, f"models: {{x: {{arch: {'x' * 10_000}}}}}\nseed: {'y' * 10_000}").split("\n"))


def test_what_is_no_utf8_and_what_is_no_file(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes(b"models: {x: {arch: unet}}\n# \xff")
    with pytest.raises(ParametersError, match="not UTF-8 text at line 2"):
        params.read(file)
    with pytest.raises(ParametersError, match="cannot be read"):
        params.read(tmp_path)


def test_an_almost_empty_file_has_every_default(tmp_path: Path) -> None:
    settings = read(tmp_path, "models: {x: {arch: unet}}")
    written = read(tmp_path, (ROOT / "params.yaml").read_text().split("models:")[0] + "models: {x: {arch: unet}}")
    assert settings == written


def test_data_that_is_left_out_is_told_on_every_road(tmp_path: Path) -> None:
    assert problems(tmp_path, "models: {x: {arch: unet}}") == "params.yaml: data is missing; DVC knows no defaults, so write it out: `data: {source: shapes}`."


def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    told = problems(tmp_path, "sed: 1\ndata: {source: shapes, rot: x}\nmodels:\n  Bad Name: {arch: unet, encodr: x}\n  b: {arch: nothing}\n")
    for part in ("sed", "data.rot", "'Bad Name' is no valid", "did you mean 'encoder'", "There is no architecture 'nothing'"):
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
        ("models: {x: {}}", "models.x.arch is missing; it is one of patch, fcn32s"),
        ("models: {x: 3}", "models.x is 3; it must be a section"),
        ("models: &m {x: *m}", "models.x contains itself, by the alias"),
        (
            "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(f"b{i}: &{'bcdefghi'[i]} [{', '.join(['*' + 'abcdefgh'[i]] * 8)}]\n" for i in range(8)),
            "means more than 100,000 values",
        ),
        ("a: " + "[" * 5000, "go too deep"),
        ("a: " + "[" * 40 + "]" * 40, "lies more than 32 levels deep"),
        ("2020-01-01: x", "the key `2020-01-01`, which is a date"),
        ("a: 2020-13-45", "month must be in 1..12"),
        ("seed: " + "9" * 5000, "a number of thousands of digits"),
        ("seed: " + "9" * 400, "seed is a number of too many digits"),
        ("seed: 0x" + "f" * 9000, "seed is a number of too many digits"),
        ("~: 1", "the key `None`, which is a null"),
        ('a: "x\\0y"', "a holds a control character"),
        ('a: "\\ud800"', "a holds half of a character"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: !!binary aGVsbG8=", "a is a binary value"),
        ("a: " + "x" * 600_000, "at most 262,144 are read"),
    ],
)
def test_a_broken_file_gets_a_sentence(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in problems(tmp_path, text)


def test_a_missing_file_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ParametersError, match="does not exist"):
        params.read(tmp_path / "params.yaml")


def test_numbers_as_dvc_writes_them(tmp_path: Path) -> None:
    assert read(tmp_path, "models: {x: {arch: unet, train: {lr: 1e-05}}}").models["x"].train.lr == 1e-5


def test_a_loss_may_be_a_weight_or_a_section(tmp_path: Path) -> None:
    model = read(tmp_path, "models: {x: {arch: unet, loss: {dice: 2, cross_entropy: {weight: 0.5, class_weights: enet}}}}").models["x"]
    assert isinstance(model, SemanticSettings)
    assert {name: term.weight for name, term in model.loss.terms().items()} == {"cross_entropy": 0.5, "dice": 2.0}
    assert model.loss.terms()["cross_entropy"].wanted_class_weights == "enet"


def test_a_multilabel_model_has_a_loss_of_its_own_and_what_is_of_single_classes_is_told_together(tmp_path: Path) -> None:
    models = read(tmp_path, "models: {a: {arch: unet, multilabel: true, input: {size: [64, 96]}}, b: {arch: unet}, c: {arch: fpn, multilabel: false}}").models
    assert [(entry.task, list(entry.loss.terms())) for entry in models.values()] == [  # type: ignore[attr-defined]
        ("multilabel", ["binary_cross_entropy"]),
        ("semantic", ["cross_entropy"]),
        ("semantic", ["cross_entropy"]),
    ]
    assert ["multilabel" in entry.model_dump() for entry in models.values()] == [True, False, False]
    told = problems(
        tmp_path, "data: {source: shapes}\nmodels: {a: {arch: deeplabv1, multilabel: true, predict: {crf: {}}, loss: {focal: 1, binary_focal: {border: {}}}}}"
    )
    for part in ("loss.focal takes each pixel for", "loss.binary_focal.border reads a map of class masks", "predict.crf gives each pixel a single class"):
        assert part in told


def test_a_detector_keeps_the_aspect_ratio_unless_told(tmp_path: Path) -> None:
    settings = read(tmp_path, "models: {a: {arch: maskrcnn, input: {size: [64, 64]}}, b: {arch: maskrcnn, input: {fit: stretch}}, c: {arch: unet}}")
    assert [model.input.fit for model in settings.models.values()] == ["shorter_side", "stretch", "stretch"]


def test_an_unknown_model_names_the_nearest() -> None:
    settings = params.read(ROOT / "params.yaml")
    with pytest.raises(ParametersError, match="Did you mean 'unet'"):
        params.select(settings, "une")


def test_flattened_for_mlflow() -> None:
    flat = params.flatten(params.read(ROOT / "params.yaml").models["unet"])
    assert flat["train.lr"] == 0.002
    assert flat["loss.dice.weight"] == 1.0
    assert flat["augment"] == '[{"Rotate": {"limit": [180, 180], "p": 0.5}}]'


def test_the_data_name(tmp_path: Path) -> None:
    assert read(tmp_path, "models: {x: {arch: unet}}").data_name() == "shapes"
    folder = tmp_path / "My Photos-2"
    folder.mkdir()
    assert read(tmp_path, f"data: {{source: '{folder}'}}\nmodels: {{x: {{arch: unet}}}}").data_name() == "my_photos_2"
