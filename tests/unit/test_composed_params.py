"""What params.yaml may say of entries that are made of others, and the sentences for what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from segline import params
from segline.documentation import excerpt
from segline.errors import ParametersError

ABOVE = """\
data: {source: shapes}
models:
  a: {arch: unet, encoder: mobilenet_v2, train: {lr: 0.001}, input: {size: [64, 64], crop: [32, 32]}}
  b: {arch: unet, encoder: mobilenet_v2, train: {lr: 0.002}, input: {size: [64, 64]}}
  other: {arch: fpn, input: {size: [96, 64], fit: letterbox}}
  tiled: {arch: fpn, input: {fit: native, tile: {size: [64, 64], overlap: 8}}}
  found: {arch: maskrcnn}
"""


def read(tmp_path: Path, models: str) -> params.Params:
    (tmp_path / "params.yaml").write_text(ABOVE + models)
    return params.read(tmp_path / "params.yaml")


def test_all_three_kinds_and_what_is_made_of_them(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "  mean: {arch: ensemble, of: [a, other], weights: [3, 1]}\n"
        "  soup: {arch: soup, of: [a, b]}\n"
        "  more: {arch: soup, of: [soup, b], greedy: true}\n"
        "  all: {arch: ensemble, of: [mean, more, b]}\n"
        "  objects: {arch: components, of: all, predict: {min_size: 5, connectivity: 4}}\n",
    ).models
    assert found["mean"].members == ("a", "other")
    assert found["mean"].shares == (0.75, 0.25)  # type: ignore[attr-defined]
    assert found["objects"].members == ("all",)
    assert [entry.task for entry in found.values()] == ["semantic"] * 4 + ["instance"] + ["semantic"] * 4 + ["instance"]
    assert found["more"].network(found) == found["a"]


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        ("  x: {arch: ensemble, of: [a, qqq]}", "models.x.of: there is no model 'qqq'. Known are a, b, found, other, tiled."),
        ("  x: {arch: ensemble, of: [a, othr]}", "models.x.of: there is no model 'othr'. Did you mean other?"),
        ("  x: {arch: ensemble, of: [a, x]}", "models.x.of: 'x' cannot be made of itself. Name the models"),
        (
            "  x: {arch: ensemble, of: [a, late]}\n  late: {arch: unet}",
            "models.x.of: 'late' stands below 'x', and models are trained in the order of params.yaml. Move 'late' above 'x'.",
        ),
        (
            "  x: {arch: ensemble, of: [a, y]}\n  y: {arch: ensemble, of: [b, z]}\n  z: {arch: ensemble, of: [other, x]}",
            "models.x.of: 'x' is made of 'y', which is made of 'z', which is made of 'x'. One of them must do without the next.",
        ),
        (
            "  x: {arch: ensemble, of: [a, found]}",
            "only semantic models can be averaged. The detections of instance models are fused by `arch: box_fusion`.",
        ),
        (
            "  fine: {arch: deeplabv1, predict: {crf: {}}}\n  x: {arch: ensemble, of: [a, fine]}",
            "models.x.of: 'fine' is refined by a CRF after its network, and an ensemble averages what networks say. Remove its predict.crf.",
        ),
        ("  x: {arch: soup, of: [found, a]}", "models.x.of: 'found' is a model of the task instance; only semantic models can be averaged."),
        (
            "  m: {arch: unet, multilabel: true}\n  x: {arch: ensemble, of: [a, m]}",
            "'m' is a model of the task multilabel; only semantic models can be averaged.",
        ),
        ("  m: {arch: unet, multilabel: true}\n  x: {arch: soup, of: [a, m]}", "'m' is a model of the task multilabel; only semantic models can be averaged."),
        ("  m: {arch: unet, multilabel: true}\n  x: {arch: components, of: m}", "only semantic models can be cut into objects."),
        ("  x: {arch: components, of: found}", "models.x.of: 'found' is a model of the task instance; only semantic models can be cut into objects."),
        ("  x: {arch: ensemble, of: [a, tiled]}", "'a' is predicted whole, and 'tiled' by tiles of 64×64 that share 8 pixels; an image is cut for all"),
        ("  x: {arch: soup, of: [a, other]}", "models.x.of: 'a' and 'other' differ in arch (unet and fpn); only weights of the same network"),
        ("  w: {arch: unet, encoder: mobilenet_v2, norm: group}\n  x: {arch: soup, of: [b, w]}", "'b' and 'w' differ in norm (batch and group)"),
        (
            "  w: {arch: unet, encoder: mobilenet_v2, input: {size: [96, 64]}}\n  x: {arch: soup, of: [b, w]}",
            "'b' and 'w' differ in input.size ([64, 64] and [96, 64])",
        ),
        (
            "  w: {arch: unet, encoder: mobilenet_v2, input: {size: [64, 64]}, train: {holdout: 0.2}}\n  x: {arch: soup, of: [b, w], greedy: true}",
            "'b' and 'w' differ in train.holdout (0.1 and 0.2)",
        ),
        ("  e: {arch: ensemble, of: [a, b]}\n  x: {arch: soup, of: [e, a]}", "'e' is no single network, so its weights cannot be averaged."),
        ("  x: {arch: ensemble, of: [a]}", "models.x.of"),
        ("  x: {arch: ensemble, of: [a, a]}", "of names a more than once; give it a larger share in `weights`"),
        ("  x: {arch: ensemble, of: [a, b], weights: [1, 2, 3]}", "weights has 3 numbers, and of names 2 models; give one for each"),
        ("  x: {arch: ensemble, of: [a, b], weights: [1, 0]}", "models.x.weights"),
        ("  x: {arch: soup, of: [a, a]}", "of names a more than once"),
        ("  x: {arch: ensemble, of: a}", "models.x.of"),
        ("  x: {arch: ensemble}", "models.x.of is missing"),
        ("  x: {arch: components, of: [a]}", "models.x.of"),
        ("  x: {arch: components, of: a, predict: {connectivity: 6}}", "models.x.predict.connectivity is 6"),
        ("  x: {arch: ensemble, of: [a, b], train: {epochs: 3}}", "models.x.train is no known key"),
        ("  x: {arch: ensembl, of: [a, b]}", "There is no architecture 'ensembl'. Did you mean ensemble?"),
    ],
)
def test_a_mistake_gets_its_sentence(tmp_path: Path, models: str, sentence: str) -> None:
    with pytest.raises(ParametersError) as told:
        read(tmp_path, models)
    assert sentence in str(told.value)


def test_the_mistake_of_a_member_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(ParametersError) as told:
        read(tmp_path, "  w: {arch: unet, encodr: resnet18}\n  x: {arch: ensemble, of: [a, w]}\n  7: {arch: unet}\n")
    assert len(told.value.problems) == 2
    assert "models.w.encodr is no known key" in told.value.problems[0]


def test_the_page_of_parameters_says_which_keys_there_are_not() -> None:
    page = excerpt("ensemble")
    assert "It is made of other entries, and has no `recipe`, `input`, `augment`, `train`" in page
    assert "`weights`" in page and "`loss`" not in page
