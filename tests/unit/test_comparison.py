"""Comparisons: the paired bootstrap's figures in words, on the images that both models were scored on, by class and by groups of images."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import factories
import numpy as np
import pytest
from model_parts import checkout, evaluated, fresh_store, instance_onnx, model_folder
from PIL import Image

from segline import registry
from segline.cli import main
from segline.comparison import verdict
from segline.comparison.common import common
from segline.comparison.compare import Report, compare
from segline.comparison.facts import Facts, facts
from segline.comparison.scored import Scored
from segline.comparison.slices import Slices, by_facts, in_thirds, of_table
from segline.data.store import IGNORE
from segline.errors import DataError
from segline.files import write_json
from segline.layout import ModelFolder
from segline.metrics import catalog
from segline.metrics.detection_counts import DetectionCounts
from segline.metrics.intervals import Resampling
from segline.metrics.label_counts import LabelCounts
from segline.metrics.paired import Comparison, paired
from segline.metrics.pixel_counts import PixelCounts
from segline_runtime.specification import ClassInfo

CLASSES = (ClassInfo(0, "sky", (0, 0, 0), False), ClassInfo(1, "car", (9, 9, 9), True))
FEW = Resampling(200)


def side(name: str, rights: Sequence[float], *, pixels: int = 1000, split_hash: str | None = "h", trained_on: Sequence[str] = ()) -> Scored:
    """A model that finds a share of each image's pixels, half of which are cars; image i is called i and has the hash h<i>."""
    images = {}
    for i, right in enumerate(rights):
        found = round(pixels / 2 * right)
        images[i + 1] = (str(i), PixelCounts.record(np.array([[found, pixels // 2 - found], [pixels // 2 - found, found]])))
    counts = PixelCounts.of(images, [info.name for info in CLASSES]).hashed({str(i): f"h{i}" for i in range(len(rights))})
    return Scored(name, "semantic", counts, CLASSES, "test", split_hash, frozenset(trained_on))


def rights(number: int, mean: float, seed: int, spread: float = 0.1) -> list[float]:
    return list(np.clip(np.random.default_rng(seed).normal(mean, spread, number), 0.05, 0.99))


def compared(first: Scored, second: Scored, groups: Callable[..., Slices] = lambda _counts: Slices(), **more: object) -> Report:
    return compare(first, second, slices=groups, resampling=FEW, **more)  # type: ignore[arg-type]


class TestVerdict:
    def test_it_is_the_paired_bootstrap_of_second_minus_first(self) -> None:
        first, second = side("a", rights(40, 0.8, 0)), side("b", rights(40, 0.82, 1))
        report = compared(first, second)
        assert report.whole.comparison == paired(second.counts, first.counts, catalog.get("iou"), FEW, classes=CLASSES)
        assert [(row.kind, row.name, row.key) for row in report.rows] == [("figure", "miou", "miou"), ("class", "sky", "iou/sky"), ("class", "car", "iou/car")]
        turned = compared(second, first).whole.comparison
        assert turned is not None and report.whole.comparison is not None
        assert turned.difference == -report.whole.comparison.difference

    def test_a_difference_that_the_images_show(self) -> None:
        worse = rights(40, 0.7, 0)
        report = compared(side("a", worse), side("b", [right + 0.05 for right in worse]))
        assert report.sentence.startswith("'b' is better by 0.0") and report.sentence.endswith(", shown at 95 %.")
        found = report.to_json()["rows"][0]
        assert found["shown"] == "second" and found["verdict"] == "b" and 0 < found["low"] < found["difference"] < found["high"]
        assert compared(side("b", [right + 0.05 for right in worse]), side("a", worse)).sentence == report.sentence

    def test_one_that_they_do_not_show_tells_how_many_would(self) -> None:
        report = compared(side("a", rights(30, 0.8, 0)), side("b", rights(30, 0.8, 1)))
        needed = report.whole.comparison.needed_images if report.whole.comparison else None
        assert needed is not None and needed > 30
        assert "It cannot be told which is better: 'b' minus 'a' is" in report.sentence and "images would be needed; there are 30." in report.sentence
        assert report.to_json()["rows"][0]["shown"] is None

    def test_equal_models(self) -> None:
        report = compared(side("a", rights(9, 0.8, 0)), side("a", rights(9, 0.8, 0)))
        assert report.sentence == "There is no difference: 'a (first)' and 'a (second)' count the same on every image."

    def test_another_figure_is_higher_and_an_unknown_one_has_neighbours(self) -> None:
        worse = rights(20, 0.7, 0)
        pair = side("a", worse), side("b", [right + 0.1 for right in worse])
        report = compared(*pair, key="iou/car")
        assert report.sentence.startswith("'b' is higher by") and report.rows[0].key == "iou/car"
        with pytest.raises(DataError, match=r"There is no figure 'mious' to compare by. Did you mean miou"):
            compared(*pair, key="mious")

    def test_one_image_tells_nothing(self) -> None:
        report = compared(side("a", [0.5]), side("b", [0.9]))
        assert report.whole.comparison is None and report.sentence.startswith("It cannot be told: ")

    @pytest.mark.parametrize(
        ("needed", "told"), [(101, "About 110 images"), (1234, "About 1,300 images"), (99_999_999, "About more than 1,000,000"), (61, "About 61 ")]
    )
    def test_needed_images_are_rounded_up(self, needed: int, told: str) -> None:
        assert verdict.needed(Comparison(0.01, -0.01, 0.03, 60, needed)).startswith(told)

    def test_many_comparisons_bring_a_warning(self) -> None:
        def groups(_counts: object) -> Slices:
            return in_thirds("size", np.arange(40.0), ("s", "m", "l")) + in_thirds("light", np.arange(40.0), ("s", "m", "l"))

        report = compare(side("a", rights(40, 0.8, 0)), side("b", rights(40, 0.8, 1)), slices=groups, resampling=Resampling(200, level=0.8))
        assert any("Of 9 comparisons at 80 %, about 2 would be shown by chance alone" in note for note in report.notes)


class TestCommonImages:
    def test_their_order_does_not_matter(self) -> None:
        first, second = side("a", rights(12, 0.8, 0)), side("b", rights(12, 0.7, 1))
        shuffled = replace(second, counts=second.counts.select(np.random.default_rng(0).permutation(12)))
        assert compared(first, shuffled).rows == compared(first, second).rows

    def test_different_images_are_refused_or_left_out(self) -> None:
        first, second = side("a", rights(12, 0.8, 0)), side("b", rights(20, 0.7, 1), split_hash="other")
        with pytest.raises(DataError, match=r"12 images for both, 8 images only for 'b'.*Or give --common, to compare them by the 12 images"):
            common(first, second)
        report = compared(first, second, some=True)
        assert report.whole.images == 12 and "Only these are compared." in report.notes[0]
        with pytest.raises(DataError, match="There is nothing to compare"):
            common(first, replace(second, counts=second.counts.hashed({str(i): f"x{i}" for i in range(20)})), some=True)

    def test_equal_images_are_told_apart_by_their_number(self) -> None:
        twice = [replace(one, counts=one.counts.hashed({str(i): "same" for i in range(3)})) for one in (side("a", [0.5, 0.6, 0.7]), side("b", [0.5, 0.6, 0.7]))]
        assert compared(*twice).whole.images == 3

    def test_without_hashes_names_count(self) -> None:
        first, second = (replace(one, counts=replace(one.counts, hashes=())) for one in (side("a", [0.5] * 5), side("b", [0.6] * 5)))
        assert compared(first, second).whole.images == 5

    def test_changed_truth_of_classes_that_overlap_is_seen(self) -> None:
        truth, other = np.zeros((2, 4, 8, 8), np.uint8)
        truth[:, :4], other[:, :6] = 1, 1
        sides = []
        for name, split_hash, truths in (("a", "one", [truth, truth]), ("b", "other", [truth, other])):
            records = {i: (str(i), LabelCounts.record(masks, masks == 1)) for i, masks in enumerate(truths)}
            counts = LabelCounts.of(records, ["sky", "car", "road", "bird"]).hashed({str(i): f"h{i}" for i in range(2)})
            sides.append(Scored(name, "multilabel", counts, CLASSES, "test", split_hash, None))
        found = common(*sides)
        assert len(found.first) == 1 and any("1 image left out: the truth has changed" in note for note in found.notes)

    def test_images_whose_truth_has_changed_are_left_out(self) -> None:
        first = side("a", rights(12, 0.8, 0))
        second = side("b", rights(12, 0.8, 1), split_hash="other")
        changed = side("b", rights(12, 0.8, 1), pixels=900)
        mixed = PixelCounts.merge([second.counts.select(range(10)), changed.counts.select([10, 11])])
        report = compared(first, replace(second, counts=mixed))
        assert report.whole.images == 10 and any("2 images left out: the truth has changed" in note and "(10, 11)" in note for note in report.notes)

    def test_images_that_one_has_learnt_from_are_left_out(self) -> None:
        first, second = side("a", rights(12, 0.8, 0), trained_on=["h3"]), side("b", rights(12, 0.8, 1), trained_on=["h4", "elsewhere"])
        report = compared(first, second)
        assert report.whole.images == 10 and "2 images left out: one of the two models has learnt from them." in report.notes
        report = compared(replace(first, trained_on=None), second)
        assert report.whole.images == 11 and any("What 'a' has learnt from is not known" in note for note in report.notes)
        with pytest.raises(DataError, match="no image in common that can be compared"):
            compared(side("a", [0.5], trained_on=["h0"]), side("b", [0.5]))

    def test_models_of_other_classes_or_tasks_are_refused(self) -> None:
        first = side("a", [0.5, 0.6])
        other = replace(first, name="b", counts=replace(first.counts, classes=("sky", "bus")))
        with pytest.raises(DataError, match="knows the classes sky, car; 'b' knows sky, bus"):
            compared(first, other)
        empty = {table: dict(columns) for table, columns in DetectionCounts.empty.items()}
        boxes = replace(first, name="b", task="instance", counts=DetectionCounts.of({1: ("0", empty)}, ["sky", "car"]))
        with pytest.raises(DataError, match="solve different tasks"):
            compared(first, boxes)


class TestSlices:
    def test_thirds_are_as_many_and_equal_values_stay_together(self) -> None:
        values = np.array([5.0, 1, 2, 9, 7, 7, 7, 3, np.nan])
        found = in_thirds("size", values, ("small", "medium", "large"), unit=" px", unknown="none").found
        assert [one.name for one in found] == ["small, 1 to 3 px", "medium, 5 to 7 px", "large, 9 px", "none"]
        assert sorted(np.concatenate([one.images for one in found])) == list(range(9))
        even = in_thirds("light", np.random.default_rng(0).random(300), ("dark", "medium", "bright")).found
        assert [len(one.images) for one in even] == [100, 100, 100]

    @pytest.mark.parametrize(("values", "names"), [([1, 1, 1], []), ([1, 2, 2], ["1", "2"]), ([], []), ([1] * 9 + [2, 3, 4], ["small, 1", "large, 2 to 4"])])
    def test_few_different_values(self, values: list[float], names: list[str]) -> None:
        assert [one.name for one in in_thirds("size", np.array(values, dtype=float), ("small", "medium", "large")).found] == names

    def test_a_slice_is_the_comparison_of_its_images(self) -> None:
        first, second = side("a", rights(30, 0.8, 0)), side("b", rights(30, 0.7, 1))
        known = {f"h{i}": Facts(10, 10 + i, i / 30, None if i < 3 else float(i)) for i in range(30)}
        report = compared(first, second, lambda counts: by_facts(counts.hashes, known))
        by_light = [row for row in report.rows if row.by == "brightness"]
        part = [one.counts.select(np.arange(10)) for one in (second, first)]
        assert by_light[0].comparison == paired(*part, catalog.get("iou"), FEW, classes=CLASSES)
        assert [row.images for row in report.rows if row.by == "object size"] == [9, 9, 9, 3]

    def test_images_that_the_prepared_data_lacks_are_told(self) -> None:
        assert "does not hold these images" in by_facts(["x", "y"], {"h0": Facts(1, 1, 0.5, None)}).notes[0]
        assert any("1 images are not in" in note for note in by_facts(["x", "h0", "h1"], {f"h{i}": Facts(1, 1 + i, 0.5, None) for i in range(2)}).notes)

    def test_columns_of_a_table(self, tmp_path: Path) -> None:
        file = tmp_path / "own.csv"
        file.write_text("weather;Image;speed;all\nsun;val/0.png;1;x\nrain;1.jpg;2;x\nsun;2;;x\nsun;3;4;x\nrain;4;5;x\nrain;7;5;x\n", encoding="utf-8-sig")
        found = of_table(file, [str(i) for i in range(6)])
        assert [(one.by, one.name, list(one.images)) for one in found.found] == [
            ("weather", "rain", [1, 4]),
            ("weather", "sun", [0, 2, 3]),
            ("speed", "low, 1 to 2", [0, 1]),
            ("speed", "medium, 4", [3]),
            ("speed", "high, 5", [4]),
        ]
        assert found.notes == ("own.csv has no row for 1 of 6 images.", "The column 'all' says 'x' of all images, so they are not grouped by it.")

    @pytest.mark.parametrize(
        ("text", "sentences"),
        [
            ("", ["is empty"]),
            ("weather,speed\nsun,1\n", ["has no column of image names: head one of its columns (weather, speed)"]),
            ("image\n0\n", ["names and nothing else"]),
            ("image,weather\nelse,sun\n", ["names none of the compared images: it has else, and they are called 0, 1"]),
            ("image,weather\n0\n1,sun\n1,rain\n", ["line 2: 1 cells, and the first line has 2", "line 4: '1' stands in line 3 already"]),
            ("image,id\n" + "".join(f"{i},w{i}\n" for i in range(30)), ["no column by which images can be grouped", "has 30 different words"]),
            ("image,weather\n\udcff,sun\n", ["cannot be read as a CSV table in UTF-8"]),
        ],
    )
    def test_mistakes_in_a_table(self, text: str, sentences: list[str], tmp_path: Path) -> None:
        file = tmp_path / "own.csv"
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(DataError) as caught:
            of_table(file, [str(i) for i in range(30)])
        assert len(caught.value.problems) == len(sentences)
        for problem, sentence in zip(caught.value.problems, sentences, strict=True):
            assert sentence in problem

    def test_a_table_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="There is no file"):
            of_table(tmp_path / "none.csv", ["0"])
        with pytest.raises(DataError, match="is a folder"):
            of_table(tmp_path, ["0"])


class TestFacts:
    def test_of_prepared_images(self, tmp_path: Path) -> None:
        dataset = factories.squares_dataset(tmp_path / "data", [(64, 96), (80, 72), (48, 50)])
        found = list(facts(dataset, tmp_path / "kept").values())
        assert [(one.height, one.width, one.object_pixels) for one in found] == [(64, 96, 28.0**2), (80, 72, 29.0**2), (48, 50, None)]
        assert found[0].brightness == pytest.approx(0.12 + 0.7 * 28**2 / (64 * 96), abs=0.01) and found[2].brightness == pytest.approx(0.12, abs=0.01)

    def test_masks_alone_have_connected_parts(self, tmp_path: Path) -> None:
        dataset = factories.squares_dataset(tmp_path / "data", [(64, 96), (80, 72)])
        dataset.info = replace(dataset.info, truths=("index",))
        (tmp_path / "data" / "dataset.json").write_text(json.dumps(dataset.info.to_dict()))

        def change(name: str, _image: np.ndarray, mask: np.ndarray) -> None:
            if name == "image0":
                mask[40:44, 50:60] = 1
            else:
                mask[:3, :3] = IGNORE

        dataset = factories.redrawn(tmp_path / "data", "test", change)
        assert [one.object_pixels for one in facts(dataset, tmp_path / "kept").values()] == [(28**2 + 40) / 2, None]

    def test_they_are_kept_and_what_is_damaged_is_measured_anew(self, tmp_path: Path) -> None:
        dataset = factories.squares_dataset(tmp_path / "data", [(64, 96), (80, 72)])
        found = facts(dataset, tmp_path / "kept")
        [file] = (tmp_path / "kept").iterdir()
        images = tmp_path / "data" / "test"
        shutil.move(images, tmp_path / "away")
        assert facts(dataset, tmp_path / "kept") == found
        shutil.move(tmp_path / "away", images)
        for damage in ("{", '{"version": 9}', '{"version": 1, "images": {"a": [1, 2]}}', '{"version": 1, "images": {"a": ["x", 2, 3, 4]}}'):
            file.write_text(damage)
            assert facts(dataset, tmp_path / "kept") == found


class TestCommand:
    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A checkout with two evaluated models, entered."""
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        folder = checkout(tmp_path / "checkout")
        for name, threshold in (("unet", 127.5), ("other", 100.0)):
            evaluated(model_folder(folder / "models" / name, threshold=threshold), folder / "data" / "prepared")
        monkeypatch.chdir(folder)
        return folder

    @pytest.fixture
    def segline(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
        def call(*arguments: str) -> tuple[int, str, str]:
            capfd.readouterr()
            monkeypatch.setattr(sys, "argv", ["segline", *arguments])
            with pytest.raises(SystemExit) as left:
                main()
            out, err = capfd.readouterr()
            assert "Traceback" not in err
            return int(left.value.code or 0), out, err

        return call

    def test_text_json_and_picture(self, root: Path, segline: Callable[..., tuple[int, str, str]]) -> None:
        (root / "own.csv").write_text("image,camera\nramp0,a\nramp1,b\nramp2,a\n")
        code, out, _ = segline("compare", "unet", "models/other", "--slices", "own.csv", "--picture", "p.png")
        assert code == 0 and "miou on 3 images of test; intervals of 95 %" in out and "'unet' is better by" in out
        assert all(word in out for word in ("by class", "bright", "by image size", "8,192 px", "by camera", "by brightness", "Picture: p.png"))
        with Image.open(root / "p.png") as picture:
            assert picture.width > 300
        code, out, _ = segline("compare", "other", "unet", "--json", "--metric", "mdice")
        values = json.loads(out)
        assert code == 0 and values["second"] == "unet" and values["rows"][0]["second"] == 1.0 and values["rows"][0]["key"] == "mdice"

    def test_versions_and_runs(self, root: Path, segline: Callable[..., tuple[int, str, str]]) -> None:
        store = fresh_store(root)
        folder = ModelFolder(root / "models" / "unet")
        receipt = registry.register(store=store, folder=folder)
        write_json(folder.receipt, receipt.to_dict())
        code, out, err = segline("compare", "models:/ramps-unet@candidate", "other")
        assert code == 0 and "'ramps-unet version 1' is better by" in out, err
        code, out, _ = segline("compare", "models:/ramps-unet@candidate", "models:/ramps-unet/1", "--json", "--metric", "boundary_iou")
        assert code == 0 and json.loads(out)["rows"][0] | {"first": 1.0, "second": 1.0} == json.loads(out)["rows"][0], "of versions it is counted"
        code, out, err = segline("compare", "models:/ramps-unet@candidate", "other", "--metric", "boundary_iou")
        assert code == 2 and "other was evaluated without what boundary_iou is counted from. Add it to evaluate.metrics" in err, err
        code, out, _ = segline("compare", receipt.run_id, f"runs:/{receipt.run_id}", "--json")
        assert code == 0 and json.loads(out)["first"] == "unet (first)"
        shutil.rmtree(folder.path)
        code, out, _ = segline("compare", receipt.run_id, "other", "--json")
        assert code == 0 and json.loads(out)["first"] == "ramps-unet version 1"
        code, _, err = segline("compare", "f" * 32, "other")
        assert code == 2 and f"has no run {'f' * 32}" in err

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("unett", "other"), "There is no model 'unett'. Did you mean unet?"),
            (("bare", "other"), "run `dvc repro evaluate@bare` first"),
            (("objects", "other"), "solve different tasks"),
            (("runs:/abc", "other"), "'runs:/abc' is no id of a run"),
            (("unet", "other", "--level", "1"), "--level is 1; it is a share"),
            (("unet", "other", "--picture", "models"), "is a folder; give --picture"),
            (("unet", "other", "--picture", "params.yaml/p.png"), "cannot be written to"),
            (("unet", "other", "--slices", "none.csv"), "There is no file none.csv"),
        ],
    )
    def test_mistakes(self, arguments: tuple[str, ...], sentence: str, root: Path, segline: Callable[..., tuple[int, str, str]]) -> None:
        model_folder(root / "models" / "bare")
        objects = model_folder(root / "models" / "objects")
        instance_onnx(objects.onnx)
        shutil.copy(root / "models" / "unet" / "counts.npz", objects.counts)
        with np.load(objects.counts) as archive:
            arrays = dict(archive)
        empty = DetectionCounts.of({1: ("ramp0", {table: dict(columns) for table, columns in DetectionCounts.empty.items()})}, ["dark", "bright"])
        np.savez(objects.counts, version=arrays["version"], kind=np.array("detections"), **empty.arrays())
        code, _, err = segline("compare", *arguments)
        assert code == 2 and sentence in err

    def test_outside_a_checkout_folders_can_be_compared(
        self, root: Path, segline: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(root / "models", tmp_path / "away")
        monkeypatch.chdir(tmp_path)
        code, out, _ = segline("compare", "away/unet", "away/other")
        assert code == 0 and "'unet' is better by" in out and "There is no prepared data here" in out

    def test_prepared_data_of_other_images_groups_nothing(self, root: Path, segline: Callable[..., tuple[int, str, str]]) -> None:
        def change(_name: str, image: np.ndarray, _mask: np.ndarray) -> None:
            image[0, 0] = 255 - image[0, 0]

        assert factories.redrawn(root / "data" / "prepared", "test", change).info.scored == "test"
        code, out, _ = segline("compare", "unet", "other")
        assert code == 0 and "The prepared data does not hold these images" in out
