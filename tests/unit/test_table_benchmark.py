"""`benchmarks/table`: shares of the training images, lists, and the table of what is kept; `tests/e2e/test_table_run.py` trains."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import factories
import numpy as np
import pytest
from hostile import campaign_of

from segline.data.extents import read as read_extents
from segline.data.store import PreparedDataset, Split
from segline.errors import DataError, ParametersError
from segline.models import catalog
from segline.sentences import Problems

TINY = {
    "steps": 40,
    "shares": [0.5, 1],
    "shared": {"train": {"batch_size": 4, "lr": 0.002}, "weights": "none"},
    "starts": {"scratch": {}, "imagenet": {"weights": "WEIGHTS", "train": {"encoder_lr_factor": 0.3}}},
    "data": {"squares": {"keys": {"source": "shapes"}, "shared": {"input": {"size": [32, 32]}}}, "roads": {"keys": {"source": "ROADS", "format": "camvid"}}},
    "architectures": {
        "unet": {"entry": {"arch": "unet", "train": {"lr": 0.001}}, "starts": ["scratch", "imagenet"]},
        "segnet": {"entry": {"arch": "segnet", "weights": None}},
    },
}


@pytest.fixture(scope="module")
def benchmark_modules() -> dict[str, ModuleType]:
    """The modules of the folder, by name."""
    return {name: campaign_of(name) for name in ("lists", "shares", "pages", "clone")}


def write(folder: Path, **changes: Any) -> Path:
    """The list, and the paths that its words stand for."""
    file = folder / "list.yaml"
    file.write_text(json.dumps({**TINY, **changes}))
    (folder / "roads").mkdir(exist_ok=True)
    (folder / "encoder.pth").touch()
    return file


def places(folder: Path) -> dict[str, Path]:
    return {"ROADS": folder / "roads", "WEIGHTS": folder / "encoder.pth"}


def test_a_smaller_share_lies_within_every_larger_one(benchmark_modules: dict[str, ModuleType]) -> None:
    chosen = benchmark_modules["shares"].chosen
    hashes = [f"{i:016x}" for i in range(100)]
    parts = [set(chosen(hashes, share, 0)) for share in (0.1, 0.3, 1)]
    assert [len(part) for part in parts] == [10, 30, 100]
    assert parts[0] < parts[1] < parts[2]
    assert set(chosen(hashes, 0.1, 1)) != parts[0]
    backwards = {hashes[99 - i] for i in chosen(hashes[::-1], 0.1, 0)}
    assert {hashes[i] for i in parts[0]} == {hashes[::-1][i] for i in chosen(hashes[::-1], 0.1, 0)} and len(backwards) == 10


def test_a_share_is_prepared_data_of_its_own(benchmark_modules: dict[str, ModuleType], tmp_path: Path) -> None:
    source = factories.squares_dataset(tmp_path / "whole", [(32, 40)] * 9)
    truths = list(source.info.truths)
    benchmark_modules["shares"].write(source, 0.5, 0, tmp_path / "half")
    half = PreparedDataset(tmp_path / "half")
    whole, part = source.split("train", truths), half.split("train", truths)
    assert len(part) == round(len(whole) / 2) == half.info.counts["train"]
    for sample, name in zip(part, part.names(), strict=True):
        same = whole[whole.names().index(name)]
        assert np.array_equal(sample.image, same.image) and np.array_equal(sample.mask, same.mask)
        assert sample.instances is not None and same.instances is not None
        assert np.array_equal(sample.instances.masks, same.instances.masks) and np.array_equal(sample.instances.boxes, same.instances.boxes)
    masks = np.concatenate([np.ravel(sample.mask) for sample in part])
    assert list(half.info.class_pixels) == [int((masks == label).sum()) for label in range(len(half.info.classes))]
    values = np.concatenate([sample.image.reshape(-1, 3) for sample in part]) / 255
    assert half.info.mean == pytest.approx(values.mean(axis=0), abs=1e-5) and half.info.std == pytest.approx(values.std(axis=0), abs=1e-5)
    extents = read_extents(tmp_path / "half")
    assert extents is not None and extents.longer.count == len(part)
    assert extents.object_sides.count == half.info.instance_counts["train"]
    assert [extents.class_pixels[label] for label in range(len(half.info.classes))] == list(half.info.class_pixels)
    assert half.info.split_hashes["train"] != source.info.split_hashes["train"]
    assert _names(half.split(half.info.scored, truths)) == _names(source.split(source.info.scored, truths))
    with pytest.raises(DataError, match=r"0\.01 of 9 training images of 'squares' is 1; 2 are needed\. Name a larger share\."):
        benchmark_modules["shares"].write(source, 0.01, 0, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def _names(split: Split) -> list[str]:
    return split.names() + split.hashes()


def test_a_list_is_read_into_rows(benchmark_modules: dict[str, ModuleType], tmp_path: Path) -> None:
    lists = benchmark_modules["lists"]
    asked = lists.read(write(tmp_path), places(tmp_path))
    assert [row.name for row in asked.rows[:4]] == [
        "squares-unet_scratch-50",
        "squares-unet_imagenet-50",
        "squares-segnet_scratch-50",
        "squares-unet_scratch-100",
    ]
    assert len(asked.rows) == 12 and len({row.settings for row in asked.rows}) == 12
    assert asked.data["roads"]["source"] == str(tmp_path / "roads")
    entry = lists.entry_for(asked.rows[1], asked.table, images=20, held=True)
    assert entry == {
        "arch": "unet",
        "weights": str(tmp_path / "encoder.pth"),
        "input": {"size": [32, 32]},
        # 18 images are 5 batches of 4: 8 epochs are 40 steps.
        "train": {"epochs": 8, "validate_every": 2, "warmup": 0.4, "batch_size": 4, "lr": 0.001, "encoder_lr_factor": 0.3},
    }
    assert lists.entry_for(asked.rows[1], asked.table, images=20, held=False)["train"]["epochs"] == 8
    assert "weights" not in asked.rows[2].entry
    (tmp_path / "elsewhere").mkdir()
    moved = lists.read(write(tmp_path), {**places(tmp_path), "ROADS": tmp_path / "elsewhere"})
    assert [row.settings for row in moved.rows] == [row.settings for row in asked.rows], "where the data lies changes no row"
    longer = lists.read(write(tmp_path, steps=41), places(tmp_path))
    assert not {row.settings for row in longer.rows} & {row.settings for row in asked.rows}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stepps": 3}, "stepps is no known key; did you mean 'steps'?"),
        ({"shares": [0.1, 2]}, "shares"),
        ({"shares": [0.1, 0.1]}, "shares names one share more than once."),
        ({"shares": []}, "shares is []"),
        ({"architectures": {"u-net": {"entry": {}}}}, "architectures: 'u-net' is no valid name"),
        ({"architectures": {"unet": {"entry": {}, "starts": ["imagnet"]}}}, "architectures.unet.starts: there is no start 'imagnet'. Did you mean imagenet?"),
        ({"shared": {"weights": "NOWHERE"}}, "NOWHERE stands for a path; give it on the command line: --place NOWHERE=<path>."),
        ({"shared": {"weights": "GONE"}}, "GONE: there is no file or folder"),
    ],
)
def test_a_wrong_list_is_told(benchmark_modules: dict[str, ModuleType], tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ParametersError) as error:
        benchmark_modules["lists"].read(write(tmp_path, **changes), {**places(tmp_path), "GONE": tmp_path / "gone"})
    assert told in "\n".join(error.value.problems)


def test_results_are_kept_by_row(benchmark_modules: dict[str, ModuleType], tmp_path: Path) -> None:
    kept = benchmark_modules["clone"].KeptLines(tmp_path / "rows.jsonl")
    assert kept.read() == {} and not kept.has("a", "1")
    for name, settings in (("a", "1"), ("b", "1"), ("a", "2")):
        kept.keep(name, {"settings": settings})
    assert kept.read() == {"a": {"settings": "2"}, "b": {"settings": "1"}}
    assert kept.has("a", "2") and not kept.has("a", "1")
    with (tmp_path / "rows.jsonl").open("a") as stream:
        stream.write('{"row": "c", "sett')
    with pytest.raises(DataError, match=r"rows\.jsonl: line 3 is no row that was written here; remove it"):
        kept.read()


def test_keys_upon_keys(benchmark_modules: dict[str, ModuleType]) -> None:
    merged = benchmark_modules["clone"].merged
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    assert merged(base, {"a": {"c": [3], "e": 5}, "d": None}) == {"a": {"b": 1, "c": [3], "e": 5}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 4}


def test_lists_that_are_shipped_can_be_read(benchmark_modules: dict[str, ModuleType], tmp_path: Path) -> None:
    folder = Path(benchmark_modules["lists"].__file__ or "").parent
    least = {"here": (6, 2, 2), "gpu": (12, 3, 2)}
    for file in sorted(folder.glob("*.yaml")):
        words = dict.fromkeys(re.findall(r"\b[A-Z]{3,}\b", file.read_text()), tmp_path)
        asked = benchmark_modules["lists"].read(file, words)
        table, problems = asked.table, Problems(file.name)
        for row in asked.rows:
            entry = benchmark_modules["lists"].entry_for(row, table, images=100, held=True)
            problems.validated(catalog.settings(entry["arch"]), entry, row.name)
        problems.raise_if_any()
        assert (len(table.architectures), len(table.shares), len(table.data)) >= least.pop(file.stem), file
    assert not least


def test_what_is_kept_becomes_a_table_and_a_page(benchmark_modules: dict[str, ModuleType], tmp_path: Path) -> None:
    lists, pages = benchmark_modules["lists"], benchmark_modules["pages"]
    asked = lists.read(write(tmp_path), places(tmp_path))
    kept = {row.name: _found(row, place) for place, row in enumerate(asked.rows[:6])}
    kept[asked.rows[5].name]["settings"] = "of an earlier list"
    kept[asked.rows[4].name] |= {"value": None, "low": None, "high": None, "onnx_ms": None}
    pages.write(asked, kept, tmp_path / "out")
    text = (tmp_path / "out.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| squares")]
    assert len(lines) == 5 and len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    assert "| squares | unet | scratch | 50 % | 10 | 0.400 | 0.390 to 0.410 | 2.0 | 2.5 |" in text
    assert "7 rows are not measured yet: squares-segnet_scratch-100, roads-unet_scratch-50" in text
    page = (tmp_path / "out.html").read_text()
    assert page.count("<tr>") == 6 and page.count("data:image/png;base64,") == 2
    assert "&lt;b&gt;" in page and "<b>" not in page and "http" not in page
    assert '<td data-value="0.42">0.420</td>' in page
    assert {file.name for file in tmp_path.glob("*.png")} == {"out-squares.png", "out-squares-time.png"}


def _found(row: Any, place: int) -> dict[str, Any]:
    value = round(0.4 + 0.01 * place, 3)
    return {
        **row.told(),
        "images_trained_on": round(20 * row.share),
        "metric": "miou",
        "value": value,
        "low": value - 0.01,
        "high": value + 0.01,
        "split": "test",
        "images": 60,
        "parameters": 1_000_000,
        "multiply_adds": 10**9,
        "memory_bytes": 10**8,
        "torch_ms": 30.0 + place,
        "onnx_ms": 20.0 + place,
        "image_size": [32, 32],
        "threads": [1, 1],
        "training_s": 120.0,
        "core_minutes": {"train": 2.0, "evaluate": 0.25, "export": 0.25},
        "device": "cpu",
        "code_licence": "MIT <b>",
        "weights_licence": None,
        "data_licence": "CC0",
        "machine": {"processor": "one", "cores": 2},
        "commit": "c0ffee0000",
    }
