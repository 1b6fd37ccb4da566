"""Mutated annotation files of every tool end in truth that fits its image, or in sentences; `benchmarks/hostile/formats.py` tries more of them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hostile import campaign_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from segline.data.check import Frame
from segline.data.formats import catalog
from segline.data.reading.tree import Tree
from segline.errors import DataError

tools = campaign_of("tool_sources")
MAKERS = {**{source.word: source.make for source in tools.SOURCES}, "panoptic": tools.panoptic}
TEXTS = (".json", ".ndjson", ".xml", ".txt", ".yaml", ".csv")

numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -1, 2**31, 1e308]))
words = st.one_of(st.text(max_size=8), st.sampled_from(["../a.png", "/etc/passwd", "\x00", "a" * 3000, "\ufeff", "nan"]))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words), lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=2))
)


def places(tree):
    """(holder, key) of every value in a tree."""
    waiting, found = [tree], []
    while waiting:
        holder = waiting.pop()
        pairs = list(holder.items() if isinstance(holder, dict) else enumerate(holder)) if isinstance(holder, dict | list) else []
        found += [(holder, key) for key, _ in pairs]
        waiting += [value for _, value in pairs]
    return found


def mutate(file, data):
    """Another value at one place of a JSON tree, or other text at one place of any file."""
    text = file.read_text()
    if file.suffix == ".json" and data.draw(st.booleans(), label="tree"):
        tree = json.loads(text)
        holder, key = data.draw(st.sampled_from(places(tree)), label="place")
        kind = data.draw(st.sampled_from(["replace", "replace", "remove", "double"]), label="kind")
        if kind == "remove":
            del holder[key]
        elif kind == "double" and isinstance(holder, list):
            holder.append(holder[key])
        else:
            holder[key] = data.draw(values, label="value")
        file.write_text(json.dumps(tree))
        return
    start = data.draw(st.integers(0, len(text)), label="start")
    length = data.draw(st.integers(0, 12), label="length")
    put = data.draw(st.one_of(words, numbers.map(str)), label="put")
    file.write_bytes((text[:start] + put + text[start + length :]).encode("utf-8", "surrogatepass"))


def whole(word, root):
    """Everything that is read of a source, looked at."""
    chosen = catalog.get("coco" if word == "panoptic" else word)
    source = chosen.FORMAT.read(root, chosen.Settings(source=str(root)))
    assert all((root / file).resolve().is_relative_to(root.resolve()) for file in source.files), "a file outside of the folder"
    assert len(source.classes) == len({one.name for one in source.classes})
    for record in source.records:
        assert record.split in (None, "train", "val", "test") and record.image in source.files
        with Image.open(root / record.image) as image:
            frame = Frame(image.height, image.width)
        truth = record.truth(frame)
        size = (frame.height, frame.width)
        if truth.mask is not None:
            assert truth.mask.shape == size and truth.mask.dtype == np.uint8 and set(np.unique(truth.mask)) <= {*range(len(source.classes)), 255}
        for one in truth.objects:
            assert 0 <= one.label < len(source.classes) and source.classes[one.label].thing
            assert (one.mask is None) == (source.truths == ("boxes",)) and (one.mask is None or (one.mask.shape == size and one.mask.any()))
            assert one.box is None or (np.isfinite(one.box).all() and min(one.box[2:]) >= 0)


@pytest.mark.parametrize("word", MAKERS)
@settings(max_examples=12, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mutated_files_end_in_truth_or_sentences(word, data):
    with tempfile.TemporaryDirectory() as folder:
        root = MAKERS[word](Path(folder))
        files = [file for file in sorted(root.rglob("*")) if file.suffix in TEXTS]
        for _ in range(data.draw(st.integers(1, 2), label="mutations")):
            file = data.draw(st.sampled_from(files), label="file")
            if file.suffix in TEXTS and is_text(file):
                mutate(file, data)
        problems: tuple[str, ...] = ()
        try:
            whole(word, root)
        except DataError as error:
            problems = error.problems
        assert all(0 < len(problem) < 1500 and problem.isprintable() for problem in problems), problems
        catalog.get("coco" if word == "panoptic" else word).FORMAT.recognise(Tree(root))


def is_text(file):
    try:
        json.loads(file.read_text()) if file.suffix == ".json" else file.read_text()
    except ValueError:
        return False
    return True
