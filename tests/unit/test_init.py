"""`segline init`: for each layout a folder is recognised, the file that is written is valid, and the line prepares and plans by it without an edit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import layout_sources
import numpy as np
import pytest
from conftest import TinyCheckout
from hostile import campaign_of
from layouts import COUNT, LAYOUTS, H, Layout, W, save, scenes
from typer.testing import CliRunner

from segline import conveyor, params
from segline.cli.app import app
from segline.data.download import download
from segline.data.formats import catalog
from segline.data.formats.recognition import recognised
from segline.data.prepare import prepare
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import PreparedDataset
from segline.errors import DataError, ParametersError, SeglineError
from segline.init.write import init
from segline.init.writing import flow, plain
from segline.layout import Checkout
from segline.plain_yaml import parse
from segline.plan import stage
from segline.plan.code import Code
from segline.plan.stage import write_data_plans, write_plans

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT / ".." / "shared" / "data"
every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.word)


CODE = Code(ROOT / "src")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """What `init` needs of a checkout; the code is that of this one, read once."""
    monkeypatch.setattr(stage, "Code", lambda source: CODE if source.resolve() == ROOT / "src" else Code(source))
    folder = tmp_path / "checkout"
    (folder / "pipeline").mkdir(parents=True)
    (folder / "dvc.yaml").touch()
    (folder / "src").symlink_to(ROOT / "src")
    return Checkout(folder)


def prepared(checkout: Checkout) -> PreparedDataset:
    """The stages `params` to `plan`, as params.yaml has them."""
    settings = conveyor.check(checkout)
    assert isinstance(settings.data, Folder)
    write_data_plans(settings, checkout)
    root = Path(settings.data.source)
    download(settings.data, root=root, seed=0, target=checkout.raw)
    prepare(settings.data, raw=checkout.raw, root=root, target=checkout.prepared)
    write_plans(settings, checkout)
    return PreparedDataset(checkout.prepared)


@every_layout
def test_the_line_runs_up_to_its_plans_without_an_edit(layout: Layout, checkout: Checkout, tmp_path: Path) -> None:
    root = tmp_path / "own data"
    root.mkdir()
    layout.make(root)
    (root / "readme.txt").write_text("notes")
    done = init(root, checkout)
    assert (done.found.word, done.models, done.survey.problems) == (layout.format, layout.models, [])
    data = prepared(checkout)
    assert tuple(c.name for c in data.info.classes) == layout.classes
    assert set(layout.models) == {folder.name for folder in checkout.plans.iterdir()}
    seen = 0
    by_name = {scene.name: scene for scene in scenes()}
    for split in data.info.counts:
        for sample in data.split(split, data.info.truths):
            scene = next(scene for name, scene in by_name.items() if sample.name.removesuffix("_leftImg").removesuffix("_image").endswith(name))
            wrong = float(np.mean(sample.mask != layout.truth(scene)))
            assert wrong <= layout.most_wrong, f"{sample.name}: {wrong}"
            assert not layout.official or split == scene.split
            if "instances" in data.info.truths:
                assert len(sample.instances.labels) == len(np.unique(scene.numbers)) - 1
            seen += 1
    assert seen == COUNT - 2 * (layout.word == "split-below"), "the images without masks are left out"


@every_layout
def test_auto_reads_what_init_writes_down(layout: Layout, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    layout.make(root)
    found, _ = recognised(Tree(root))
    settings = catalog.get("auto").Settings(source=str(root), images="rgb")
    auto = catalog.get("auto").FORMAT
    source, own = auto.read(root, settings), catalog.get(found.word).FORMAT.read(root, found.settings(root))
    assert (source.classes, source.truths, source.files) == (own.classes, own.truths, own.files)
    assert tuple(auto.files(root, settings)) == source.files
    json.dumps(found.settings(root).model_dump(mode="json"))
    again = type(found.settings(root)).model_validate(json.loads(found.settings(root).model_dump_json()))
    assert again == found.settings(root), "a plan keeps it"


@pytest.mark.parametrize(("name", "word"), [("camvid", "camvid"), ("PennFudanPed", "pennfudan"), ("coco_tiny", "coco"), ("isbi2012", "isbi2012")])
def test_real_data_is_recognised_quickly(name: str, word: str) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"the real data {name} is not beside the checkout")
    started = time.process_time()
    found, _ = recognised(Tree(SHARED / name))
    assert time.process_time() - started < 6
    assert (found.word, found.sighting.keys) == (word, {})


OTHERS = {
    **{name.removeprefix("make_"): make for name, make in vars(layout_sources).items() if name.startswith("make_")},
    **{source.word: source.make for source in campaign_of("tool_sources").SOURCES},
}
"""Tiny sources in the layouts of public data sets, and of annotation tools."""


@pytest.mark.parametrize("word", sorted(set(OTHERS) - {"voc_boxes"}))
def test_every_other_format_is_recognised_and_runs_without_an_edit(word: str, checkout: Checkout, tmp_path: Path) -> None:
    root = tmp_path / "own"
    root.mkdir()
    OTHERS[word](root)
    done = init(root, checkout)
    # Three small black-and-white masks may be anything.
    assert word.startswith(done.found.word) or (word, done.found.word) == ("isbi2012", "masks")
    assert done.survey.problems == []
    assert sum(prepared(checkout).info.counts.values()) == done.survey.images


# what is chosen -----------------------------------------------------------------------------------------------------------------------------------------


def made(tmp_path: Path, word: str) -> Path:
    root = tmp_path / "data"
    root.mkdir(exist_ok=True)
    next(layout for layout in LAYOUTS if layout.word == word).make(root)
    return root


def test_each_choice_says_why(checkout: Checkout, tmp_path: Path) -> None:
    init(made(tmp_path, "numbered"), checkout)
    text = checkout.params.read_text()
    commented = text.splitlines()
    for key in ("format:", "splits:", "input:", "loss:", "augment:", "train:", "anchors:", "weights:", "encoder:"):
        places = [i for i, line in enumerate(commented) if line.strip().startswith(key)]
        assert places, key
        assert key == "format:" or any("#" in commented[i] or commented[i - 1].strip().startswith("#") for i in places), key


def test_choices_follow_the_data(checkout: Checkout, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(8):
        height, width = (96, 64) if i % 2 else (64, 96)
        mask = np.zeros((height, width), np.uint8)
        mask[:3, :3] = 1
        save(tmp_path / "d" / "images" / f"{i}.png", rng.integers(0, 255, (height, width), dtype=np.uint8))
        save(tmp_path / "d" / "masks" / f"{i}.png", mask)
    init(tmp_path / "d", checkout)
    model = params.read(checkout.params).models["unet"]
    assert (model.input.size, model.input.fit) == ((96, 96), "letterbox"), "some upright and some lying"
    assert model.train.batch_size <= 5 and model.train.epochs == 150, "of five training images no batch of eight"
    assert "class_weights: enet" in checkout.params.read_text(), "class_1 is rare"
    assert [step.name for step in model.augment] == ["HorizontalFlip", "Affine", "RandomBrightnessContrast"], "grey pictures have no colours to vary"


def test_large_images_are_seen_in_windows(checkout: Checkout, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(3):
        mask = np.zeros((600, 1800), np.uint8)
        mask[100:200, 100 * i : 100 * i + 80] = 1
        save(tmp_path / "d" / "images" / f"{i}.jpg", rng.integers(0, 255, (600, 1800, 3), dtype=np.uint8))
        save(tmp_path / "d" / "masks" / f"{i}.png", mask)
    init(tmp_path / "d", checkout)
    section = params.read(checkout.params).models["unet"].input
    assert section.fit == "native" and section.tile is not None and section.tile.size == (512, 512)


def test_deep_images_of_many_channels_get_transforms_that_change_no_value(checkout: Checkout, tmp_path: Path) -> None:
    for scene in scenes():
        (tmp_path / "d" / "images").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "d" / "images" / f"{scene.name}.npy", np.dstack([scene.image, scene.image]).astype(np.float32) / 255)
        save(tmp_path / "d" / "masks" / f"{scene.name}.png", scene.truth)
    init(tmp_path / "d", checkout)
    assert [step.name for step in params.read(checkout.params).models["unet"].augment] == ["HorizontalFlip"]
    assert prepared(checkout).info.image.channels == 6


def test_boxes_alone_are_nothing_to_learn_masks_from(checkout: Checkout, tmp_path: Path) -> None:
    root = made(tmp_path, "coco")
    for file in (root / "annotations").iterdir():
        content = json.loads(file.read_text())
        content["annotations"] = [a | {"segmentation": None, "bbox": [1, 1, 9, 9]} for a in content["annotations"]]
        file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"boxes alone.*annotate outlines"):
        init(root, checkout)
    assert not checkout.params.exists()


# what is kept, and what is refused ----------------------------------------------------------------------------------------------------------------------


def test_nothing_that_somebody_wrote_is_lost(checkout: Checkout, tmp_path: Path) -> None:
    root = made(tmp_path, "binary")
    checkout.params.write_text("data: {source: shapes}\nmodels: {mine: {arch: unet}}\n")
    with pytest.raises(ParametersError, match=r"is there already.*add --force"):
        init(root, checkout)
    first = init(root, checkout, force=True).kept
    second = init(root, checkout, force=True).kept
    assert first is not None and second is not None and first != second
    assert "mine" in first.read_text() and "foreground" in second.read_text()


def test_the_shipped_file_is_replaced_as_it_is_in_git(checkout: Checkout, tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", checkout.params)
    for command in (["init", "-q"], ["add", "params.yaml"], ["-c", "user.name=t", "-c", "user.email=t@e.org", "commit", "-q", "-m", "shipped"]):
        subprocess.run(["git", *command], cwd=checkout.root, check=True)
    shipped = checkout.params.read_text()
    checkout.params.write_text(shipped.replace("seed: 0", "seed: 1"))
    with pytest.raises(ParametersError, match="is there already"):
        init(made(tmp_path, "binary"), checkout)
    checkout.params.write_text(shipped)
    kept = init(made(tmp_path, "binary"), checkout).kept
    assert kept is not None and kept.read_text() == shipped
    with pytest.raises(ParametersError, match="is there already"):
        init(made(tmp_path, "binary"), checkout)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["a/x.png", "b/y.png"], r"in no layout that is known: it holds 1 \.png in a, 1 \.png in b.*Formats are .*masks"),
        (["notes.txt"], "holds no images"),
        ([], "holds no images"),
    ],
)
def test_a_folder_that_nothing_recognises(files: list[str], sentence: str, checkout: Checkout, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for i, name in enumerate(files):
        if name.endswith(".png"):
            save(root / name, np.random.default_rng(i).integers(0, 255, (H, W, 3), dtype=np.uint8))
        else:
            (root / name).write_text("x")
    with pytest.raises(DataError, match=sentence):
        init(root, checkout)
    assert not checkout.params.exists()


def test_a_folder_that_lacks_most_images_is_told_as_the_nearest(checkout: Checkout, tmp_path: Path) -> None:
    root = made(tmp_path, "coco")
    for file in [*sorted((root / "train").iterdir())[:-1], *(root / "val").iterdir(), *(root / "test").iterdir()]:
        file.unlink()
    with pytest.raises(DataError, match=r"Nearest is coco \(annotations.*of whose images 8 % are in the folder"):
        init(root, checkout)


def test_the_lines_own_folders_are_no_source(checkout: Checkout) -> None:
    next(layout for layout in LAYOUTS if layout.word == "binary").make(checkout.prepared)
    with pytest.raises(ParametersError, match="a folder that the line writes"):
        init(checkout.prepared, checkout)
    assert not checkout.params.exists()


def test_mistakes_of_the_structure_are_told_at_once(checkout: Checkout, tmp_path: Path) -> None:
    root = made(tmp_path, "coco")
    file = root / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["category_id"] = 99
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="is of the category 99"):
        init(root, checkout)


def test_images_that_cannot_be_read_are_told_and_the_file_is_written(checkout: Checkout, tmp_path: Path) -> None:
    root = made(tmp_path, "binary")
    (root / "images" / "003.jpg").write_bytes(b"not an image")
    assert any("images/003.jpg cannot be decoded" in problem for problem in init(root, checkout).survey.problems)
    assert checkout.params.is_file()


def test_single_masks_that_are_none_do_not_hide_what_the_others_are(checkout: Checkout, tmp_path: Path) -> None:
    root = made(tmp_path, "arrays")
    names = [scene.name for scene in scenes()]
    np.save(root / "targets" / f"{names[0]}.npy", scenes()[0].image)
    np.save(root / "targets" / f"{names[1]}.npy", scenes()[1].binary * 255)
    done = init(root, checkout)
    assert done.found.sighting.keys["classes"] == ["background", "class_1", "class_2"] and "ignore" not in done.found.sighting.keys
    assert "but for 2 that look otherwise" in done.found.sighting.seen
    assert len(done.survey.problems) == 2
    with pytest.raises(DataError, match=rf"targets/{names[1]}.npy holds the unknown value 255.*saved as 0/255") as caught:
        prepared(checkout)
    assert any(f"targets/{names[0]}.npy is a colour image" in problem for problem in caught.value.problems)


# the command --------------------------------------------------------------------------------------------------------------------------------------------


def test_the_command(checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made(tmp_path, "numbered")
    monkeypatch.chdir(checkout.root / "pipeline")
    done = CliRunner().invoke(app, ["init", "--root", str(root)])
    assert done.exit_code == 0, done.output
    assert "each object with a number of its own" in done.output and "unet and maskrcnn" in done.output and "dvc repro" in done.output
    wrong = CliRunner().invoke(app, ["init", "--root", str(root), "--format", "coco", "--force"])
    assert isinstance(wrong.exception, SeglineError) and "not in the coco layout" in str(wrong.exception) and "masks" in str(wrong.exception)
    monkeypatch.chdir(tmp_path)
    outside = CliRunner().invoke(app, ["init", "--root", str(root)])
    assert isinstance(outside.exception, ParametersError) and "not inside a Segline checkout" in str(outside.exception)
    missing = CliRunner().invoke(app, ["init", "--root", str(tmp_path / "nowhere")])
    assert isinstance(missing.exception, SeglineError)


def test_it_needs_no_torch(checkout: Checkout, tmp_path: Path) -> None:
    program = "import sys\nsys.modules['torch'] = sys.modules['mlflow'] = None\nfrom segline.cli import main\nmain()"
    command = [sys.executable, "-c", program, "init", "--root", str(made(tmp_path, "numbered"))]
    done = subprocess.run(command, cwd=checkout.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "value", ["a", "yes", "1e3", "", "a: b", "x#y", "~", "{name}", "é\n", "null", 3, 0.25, True, None, [1, "on"], {"#ff0000": "car", 255: "x y"}]
)
def test_values_are_written_so_that_yaml_reads_them_back(value: object) -> None:
    assert parse(f"key: {flow(value)}", "test") == {"key": value}
    assert isinstance(value, list | dict) or parse(f"- {plain(value)}", "test") == [value]


@pytest.mark.slow
@pytest.mark.parametrize("word", ["binary", "coco"])
def test_the_whole_line_runs_after_init(word: str, tiny_checkout: TinyCheckout, tmp_path: Path) -> None:
    root = made(tmp_path, word)
    output = tiny_checkout.run("segline", "init", "--root", str(root), "--force").stdout
    assert "dvc repro" in output
    settings = params.read(tiny_checkout.params)
    # Only what it costs: the file is taken as it is otherwise.
    text = tiny_checkout.params.read_text()
    for model in settings.models.values():
        text = text.replace(f"epochs: {model.train.epochs}", "epochs: 2").replace(f"validate_every: {model.train.validate_every}, ", "")
    tiny_checkout.params.write_text(text)
    tiny_checkout.run("dvc", "repro")
    for name in settings.models:
        assert (tiny_checkout.root / "models" / name / "registered.json").is_file()
