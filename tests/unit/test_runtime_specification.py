"""The specification on disk: what is written today, what was written before, and what may be written tomorrow."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from segline_runtime.errors import InputError
from segline_runtime.specification import ClassInfo, Crf, Geometry, ImageKind, Specification, Tile

VERSION_1 = """{"classes": [{"color": [0, 0, 0], "id": 0, "name": "background", "thing": false},
{"color": [220, 20, 60], "id": 1, "name": "disc", "thing": true}],
"dataset": "shapes", "image_size": [128, 160], "mean": [0.485, 0.456, 0.406], "model": "mask-rcnn", "resize": "shorter_side", "std": [0.229, 0.224, 0.225],
"task": "instance"}"""

VERSION_2 = """{"classes": [{"color": [0, 0, 0], "id": 0, "name": "water", "thing": false}], "dataset": "lakes",
"geometry": {"fit": "native", "size": null, "tile": {"overlap": 64, "size": [512, 640]}},
"image": {"axes": "HWC", "channels": 6, "dtype": "uint16", "scale": 10000.0}, "mean": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "model": "unet",
"std": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], "task": "semantic", "version": 2}"""

VERSION_3 = VERSION_2.replace('"version": 2', '"version": 3')

VERSION_4 = VERSION_2.replace('"version": 2', '"version": 4, "components": null, "crf": null')

VERSION_5 = VERSION_4.replace('"version": 4', '"version": 5, "fusion": null').replace('"tile": {', '"tile": {"context": 0, "step": 1, ')

REFINED = VERSION_5.replace(
    '"crf": null',
    """"crf": {"iterations": 10, "appearance": 4.0, "appearance_position": 49.0, "appearance_colour": 5.0, "smoothness": 3.0, "smoothness_position": 2.5}""",
)

CURRENT = Specification(
    task="semantic",
    model="unet",
    dataset="lakes",
    classes=(ClassInfo(0, "water", (0, 0, 0), False),),
    geometry=Geometry("native", None, Tile((512, 640), 64)),
    mean=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    std=(1.0,) * 6,
    image=ImageKind(channels=6, dtype="uint16", scale=10000.0),
)


def test_todays_file() -> None:
    assert json.loads(CURRENT.to_json()) == json.loads(VERSION_5)
    assert Specification.from_json(VERSION_5) == CURRENT
    hash(Specification.from_json(VERSION_5))


def test_a_refinement_is_carried() -> None:
    read = Specification.from_json(REFINED)
    assert read == replace(CURRENT, crf=Crf(10, 4.0, 49.0, 5.0, 3.0, 2.5))
    assert json.loads(read.to_json()) == json.loads(REFINED)
    hash(read)


@pytest.mark.parametrize("text", [VERSION_2, VERSION_3, VERSION_4], ids=["2", "3", "4"])
def test_a_file_of_an_earlier_version_says_the_same(text: str) -> None:
    assert Specification.from_json(text) == CURRENT


def test_a_file_of_version_1_is_rgb_of_8_bits_with_its_resizing() -> None:
    read = Specification.from_json(VERSION_1)
    classes = (ClassInfo(0, "background", (0, 0, 0), False), ClassInfo(1, "disc", (220, 20, 60), True))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert read == Specification("instance", "mask-rcnn", "shapes", classes, Geometry("shorter_side", (128, 160)), mean, std)
    assert (read.image, read.geometry.tile, read.version) == (ImageKind(axes="HWC", channels=3, dtype="uint8", scale=255.0), None, 5)
    assert Specification.from_json(read.to_json()) == read


def test_what_a_file_leaves_out_has_its_default() -> None:
    values = json.loads(VERSION_2)
    del values["image"], values["geometry"]["tile"], values["geometry"]["size"]
    read = Specification.from_dict(values)
    assert read.image == ImageKind()
    assert read.geometry == Geometry("native", None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 6}, "version 6; this Segline reads up to 5. Use a newer Segline"),
        ({"geometry": {"fit": "native", "tile": {"size": [64, 64], "overlap": 60, "context": 30, "step": 8}}}, "windows that hold nothing but context"),
        ({"geometry": {"fit": "native", "tile": {"size": [64, 64], "overlap": 60, "context": "all"}}}, "cannot be read"),
        ({"crf": {"iterations": 10}}, "cannot be read"),
        ({"crf": 5}, "cannot be read"),
        ({"version": 4, "components": {"min_size": 1}}, "cannot be read"),
        ({"version": 4, "components": {"min_size": -1, "connectivity": 4, "max_detections": 1}}, "known are connectivity 4 and 8"),
        ({"version": "two"}, "version two"),
        ({"geometry": {"fit": "fisheye", "size": None}}, "resizes images by 'fisheye'; known are stretch, shorter_side, letterbox, native"),
        ({"geometry": 5}, "cannot be read"),
        ({"geometry": {"size": [1, 2]}}, "lacks 'fit'"),
        ({"geometry": {"fit": "stretch", "size": [1, 2, 3]}}, "cannot be read"),
        ({"image": {"axes": "CHW"}}, "images CHW of uint8"),
        ({"image": {"dtype": "float64"}}, "HWC of float64"),
        ({"image": {"bands": 3}}, "cannot be read"),
        ({"mean": None}, "cannot be read"),
    ],
)
def test_what_cannot_be_read_gets_a_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Specification.from_dict({**json.loads(VERSION_2), **change})


@pytest.mark.parametrize(("text", "sentence"), [("{", "is not JSON"), ("[]", "not a JSON object"), ("{}", "lacks 'task'")])
def test_what_is_no_specification_gets_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Specification.from_json(text)
