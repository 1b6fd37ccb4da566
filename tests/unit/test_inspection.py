"""The page of what was found and the sheet of samples: what stands in them, and that nothing breaks them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from layout_sources import H, W, known, make_ade20k, make_cityscapes, make_voc_boxes, picture, save
from PIL import Image
from typer.testing import CliRunner

from segline.cli.app import app
from segline.data.formats import catalog
from segline.data.prepare import check
from segline.drawing.truth import class_picture, truth_picture
from segline.inspection.pictures import Album, sheet
from segline.inspection.samples import for_sheet, per_class, showing, spread
from segline.inspection.write import write, write_page
from segline.layout import CheckFolder


def surveyed(root, word, **keys):
    return check(catalog.get(word).Settings(source=str(root), **keys), root)


class Tags(HTMLParser):
    """Addresses that the page asks for, and tags that are left open."""

    def __init__(self):
        super().__init__()
        self.addresses, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href") and not value.startswith("#")]
        if tag not in ("meta", "img", "line", "rect", "circle", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs): ...

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize(("word", "make"), [("cityscapes", make_cityscapes), ("ade20k", make_ade20k), ("voc", make_voc_boxes)])
def test_the_page_needs_no_other_file(tmp_path, word, make):
    survey = surveyed(make(tmp_path / "root"), word)
    write(survey, CheckFolder(tmp_path / "check"))
    text = (tmp_path / "check" / "check.html").read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.open == [] and tags.addresses and all(address.startswith("data:image/jpeg;base64,") for address in tags.addresses)
    assert "<script" not in text and "url(" not in text and "prefers-color-scheme:dark" in text and str(tmp_path) not in text
    for info in survey.classes:
        assert info.name in text
    with Image.open(tmp_path / "check" / "samples.png") as picture:
        assert picture.width > 380 and picture.height > 380 * H / W


def test_the_same_data_gives_the_same_page(tmp_path):
    survey = surveyed(make_cityscapes(tmp_path / "root"), "cityscapes")
    for name in "ab":
        write(survey, CheckFolder(tmp_path / name))
    assert (tmp_path / "a" / "check.html").read_bytes() == (tmp_path / "b" / "check.html").read_bytes()
    assert (tmp_path / "a" / "samples.png").read_bytes() == (tmp_path / "b" / "samples.png").read_bytes()


def test_names_are_text_and_never_markup(tmp_path):
    name = "<script>alert(1)</script>"
    root = tmp_path / "root"
    for split in ("train", "val"):
        for i in range(3):
            picture(root / split / f"<b>{split}{i}&.png")
            save(root / f"{split}annot" / f"<b>{split}{i}&.png", known(0, 1, 2, 1))
    survey = surveyed(root, "camvid", classes=[name, "a & b", "c", "'\"><img src=x>"])
    write_page(survey, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert name not in text and "&lt;script&gt;" in text and "<img src=x>" not in text
    tags = Tags()
    tags.feed(text)
    assert tags.open == []


def test_problems_stand_with_their_pictures(tmp_path):
    root = make_cityscapes(tmp_path / "root")
    masks = sorted(root.rglob("*_labelIds.png"))
    save(masks[0], known(99, 7, 26, 23))
    sorted(root.rglob("*_leftImg8bit.png"))[1].write_bytes(b"no image")
    write_page(surveyed(root, "cityscapes"), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    sections = re.findall(r'<section class="finding (\w+)">(.*?)</section>', text, re.DOTALL)
    errors = [body for severity, body in sections if severity == "error"]
    assert len(errors) == 2
    assert "cannot be decoded" in errors[0] and "<img" not in errors[0]
    assert "unknown label value 99" in errors[1] and "<img" in errors[1], "the photograph is there, though its truth cannot be read"


def test_a_layout_that_cannot_be_read_has_a_page_too(tmp_path):
    picture(tmp_path / "root" / "a.png")
    write(surveyed(tmp_path / "root", "cityscapes"), CheckFolder(tmp_path / "check"))
    assert "not in the cityscapes layout" in (tmp_path / "check" / "check.html").read_text()
    assert not (tmp_path / "check" / "samples.png").exists()


def test_an_older_page_is_replaced(tmp_path):
    folder = CheckFolder(tmp_path / "check")
    write(surveyed(make_cityscapes(tmp_path / "root"), "cityscapes"), folder)
    picture(tmp_path / "odd" / "a.png")
    write(surveyed(tmp_path / "odd", "cityscapes"), folder)
    assert [f.name for f in folder.path.iterdir()] == ["check.html"]


def test_samples_show_a_class_in_much_and_in_little(tmp_path):
    survey = surveyed(make_cityscapes(tmp_path), "cityscapes")
    assert [per_class(n) for n in (2, 12, 13, 60, 81)] == [4, 4, 3, 2, 1]
    found = showing(survey)
    assert len(spread(found[13], 4)) == 3 and 5 not in found
    amounts = [seen.pixels[13] / (seen.size[0] * seen.size[1]) for seen in found[13]]
    assert amounts == sorted(amounts) and amounts[0] > 0
    assert {seen.split for seen in for_sheet(survey)} == {"train", "val"}


def test_truth_is_drawn_where_it_is(tmp_path):
    """The class's colour lies on its own pixels; elsewhere the photograph is grey."""
    survey = surveyed(make_cityscapes(tmp_path), "cityscapes")
    look = survey.look(0)
    car = next(info for info in survey.classes if info.name == "car")
    size = (H * 20, W * 20)
    marked = class_picture(look.pixels, look.truth, car, (255, 0, 0), size).astype(int)
    inside = marked[25:55, 45:95]  # of the car's pixels, without their borders
    outside = marked[65:75, 5:130]
    assert (inside[..., 0] > inside[..., 1] + 60).all()
    assert (abs(outside[..., 0] - outside[..., 1]) < 8).all()
    assert truth_picture(look.pixels, look.truth, survey.classes, size).shape == (*size, 3)


def test_boxes_are_drawn_as_frames(tmp_path):
    survey = surveyed(make_voc_boxes(tmp_path), "voc")
    look = survey.look(0)
    cat = survey.classes[8]
    framed = class_picture(np.zeros((H, W, 3), np.uint8), look.truth, cat, (255, 0, 0), (H * 20, W * 20)).astype(int)
    assert (framed[20, 45:95, 0] > 200).all() and framed[40, 70, 0] < 200


def test_a_sheet_without_pictures_is_none(tmp_path):
    survey = surveyed(make_cityscapes(tmp_path), "cityscapes")
    chosen = for_sheet(survey)
    for file in tmp_path.rglob("*_leftImg8bit.png"):
        file.unlink()
    assert sheet(survey, Album(survey), chosen) is None


# segline check ------------------------------------------------------------------------------------------------------------------------------------------


def ran(*arguments):
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_the_command_finds_the_layout_and_writes_the_page(tmp_path):
    done = ran(make_cityscapes(tmp_path / "root"), "--out", tmp_path / "page.html")
    assert done.exit_code == 0 and "Layout cityscapes" in done.output and "3 images (2 train, 1 val), 19 classes" in done.output
    assert (tmp_path / "page.html").is_file()


def test_the_command_exits_with_1_where_there_are_errors(tmp_path):
    root = make_cityscapes(tmp_path / "root")
    save(next(root.rglob("*_labelIds.png")), known(99, 7, 26, 23))
    done = ran(root, "--format", "cityscapes", "--set", "classes=[car, road, sky]", "--out", tmp_path / "page.html")
    assert done.exit_code == 1 and "Label values that are no class" in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "does not exist"),
        (("--format", "voc"), "name the folder as well"),
        ((".", "--format", "vok"), "no format 'vok'"),
        ((".", "--format", "voc", "--set", "labels=all"), "has no setting 'labels'"),
        ((".", "--format", "voc", "--out", "."), "is a folder"),
        ((".", "--format", "voc", "--out", "notes.txt/page.html"), "cannot be written to"),
        ((".",), "in no layout that is known|holds no images"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    done = ran(*arguments)
    assert done.exit_code != 0 and re.search(words, str(done.exception))


def test_the_data_of_a_checkout_are_checked_as_params_say(tmp_path, monkeypatch):
    root = make_cityscapes(tmp_path / "data" / "street")
    (tmp_path / "dvc.yaml").write_text("")
    params = "data: {{source: {}, format: cityscapes, classes: [car, road]}}\nmodels: {{unet: {{arch: unet, encoder: resnet18, weights: none}}}}\n"
    (tmp_path / "params.yaml").write_text(params.format("street"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGLINE_HOME", raising=False)
    done = ran()
    assert done.exit_code == 0 and "3 images (2 train, 1 val), 2 classes" in done.output and root.is_dir()
    (tmp_path / "params.yaml").write_text("data: {source: shapes}\nmodels: {unet: {arch: unet, encoder: resnet18, weights: none}}\n")
    assert "which the line makes itself" in str(ran().exception)
