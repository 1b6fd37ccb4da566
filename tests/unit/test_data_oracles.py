"""The formats of annotation tools against what the tools' own converters made of the same files (`benchmarks/oracles`), pixel by pixel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segline.data.check import Frame
from segline.data.formats import catalog

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "tools"
FORMATS = ("cityscapes", "coco", "cvat", "labelbox", "labelme", "supervisely")


def mask_of(runs, size):
    """Of run lengths row by row, beginning with what is not of it."""
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size)


def written(root, content):
    """The source that the tool has read: its annotations, and black images of their sizes."""
    for name, (height, width) in content["images"].items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height)).save(root / name)
    for name, text in content["files"].items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("word", FORMATS)
def test_pixels_are_those_of_the_tool(word, tmp_path):
    content = json.loads((GOLDEN / f"{word}.json").read_text())
    root = written(tmp_path, content)
    reader = catalog.get(word)
    source = reader.FORMAT.read(root, reader.Settings(source=str(root)))
    names = [one.name for one in source.classes]
    assert len(source.records) == 2
    for record in source.records:
        size = tuple(content["images"][record.image.as_posix()])
        truth = record.truth(Frame(*size))
        made = content["made"]["images"][record.image.stem]
        # Each object is of a class of its own in most files; of cityscapes' some are of one class, in the order of their numbers.
        ours = sorted(((names[one.label], one.mask) for one in truth.objects), key=lambda pair: pair[0])
        theirs = sorted(((name, mask_of(runs, size)) for name, runs in made["objects"]), key=lambda pair: pair[0])
        assert [name for name, _ in ours] == [name for name, _ in theirs] and len(ours) >= 4
        for (name, mask), (_, expected) in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mask, expected, err_msg=f"{record.image} {name}")
        if made["seen"] is None:
            continue
        for name, runs in made["seen"].items():
            np.testing.assert_array_equal(truth.mask == names.index(name), mask_of(runs, size), err_msg=f"{record.image} {name} as it is seen")
        shown = {names[value] for value in np.unique(truth.mask) if value != 255} - {"background"}
        assert shown == set(made["seen"])
