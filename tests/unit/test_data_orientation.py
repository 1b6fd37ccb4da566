"""Photographs that viewers turn: image and truth lie on one another, whatever the truth was drawn on, or the data is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from segline.data.check import Frame
from segline.data.download import download
from segline.data.formats import catalog
from segline.data.orientation import turned_box
from segline.data.prepare import prepare, read_folder
from segline.data.sources import Splits
from segline.data.store import PreparedDataset
from segline.errors import DataError
from segline_runtime.images import to_array, upright
from segline_runtime.specification import ClassInfo, ImageKind

KEEPS_SIZE, SWAPS_SIDES = (2, 3, 4), (5, 6, 7, 8)
STORED = np.zeros((24, 36), dtype=np.uint8)
STORED[3:9, 4:20] = 1  # an object that no turn leaves in its place


def flagged(file, orientation, drawn, stored):
    """Saves a photo of a white object on black, flagged; the object `(H, W)` as its truth is drawn, on the pixels as stored or as displayed."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored * 255).save(file, quality=95, exif=exif)
    return stored if drawn == "stored" else upright(stored, orientation)


def source(root, orientation, drawn, stored=STORED):
    """A Penn-Fudan folder of one such photo."""
    for folder in ("PNGImages", "PedMasks"):
        (root / folder).mkdir(parents=True)
    truth = flagged(root / "PNGImages" / "a.jpg", orientation, drawn, stored)
    Image.fromarray(np.ascontiguousarray(truth)).save(root / "PedMasks" / "a_mask.png")
    return root


def coco_source(root, orientation, drawn, *, boxes=False, sized=True):
    """The same, in COCO's layout."""
    for folder in ("annotations", "images"):
        (root / folder).mkdir(parents=True)
    truth = flagged(root / "images" / "a.jpg", orientation, drawn, STORED)
    rows, columns = np.nonzero(truth)
    x, y, w, h = (int(v) for v in (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1))
    shape = {"bbox": [x, y, w, h]} if boxes else {"bbox": [x, y, w, h], "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}
    size = {"height": truth.shape[0], "width": truth.shape[1]} if sized else {}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", **size}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": w * h, **shape}],
        "categories": [{"id": 1, "name": "person"}],
    }
    (root / "annotations" / "instances_test.json").write_text(json.dumps(content))
    return root


def run(root, target, word="pennfudan", **settings):
    """As `segline evaluate` reads a folder."""
    chosen = catalog.get(word).Settings(source=str(root), **settings)
    classes = (ClassInfo(0, "background", (0, 0, 0), False), ClassInfo(1, "person", (9, 9, 9), True))
    return read_folder(chosen, root, target / "prepared", model_classes=classes)


def check_overlap(data, root):
    """The object lies where the image is white; training sees the image as prediction and serving do; and `check.json` says what was done."""
    [name] = data.info.counts
    [sample] = data.split(name, data.info.truths)
    [file] = root.rglob("*.jpg")
    np.testing.assert_array_equal(sample.image, to_array(file, ImageKind()))
    white = sample.image[..., 0] > 127
    if data.info.truths == ("boxes",):
        x, y, right, bottom = sample.instances.boxes[0].astype(int)
        mask = np.zeros_like(white)
        mask[y:bottom, x:right] = True
    else:
        mask = sample.instances.masks[0].astype(bool)
        np.testing.assert_array_equal(sample.mask == 1, mask)
    np.testing.assert_array_equal(white, mask)
    return json.loads((data.folder / "check.json").read_text())["turned"]


@pytest.mark.parametrize("drawn", ["displayed", "stored"])
@pytest.mark.parametrize("orientation", range(1, 9))
class TestEveryOrientation:
    def test_the_size_tells_or_the_setting_does(self, tmp_path, orientation, drawn):
        root = source(tmp_path / "root", orientation, drawn)
        file = next(root.rglob("*.jpg")).relative_to(root).as_posix()
        said = {} if orientation == 1 else {f"truth as {drawn}": [file]}
        if orientation in KEEPS_SIZE:
            with pytest.raises(DataError, match=rf"a\.jpg .*EXIF orientation {orientation}.*36x24.*Set data\.orientation to displayed or stored"):
                run(root, tmp_path)
        else:
            assert check_overlap(run(root, tmp_path), root) == said
        if orientation != 1:
            assert check_overlap(run(root, tmp_path / "told", orientation=drawn), root) == said

    @pytest.mark.parametrize("boxes", [False, True])
    def test_polygons_and_boxes(self, tmp_path, orientation, drawn, boxes):
        root = coco_source(tmp_path / "root", orientation, drawn, boxes=boxes)
        check_overlap(run(root, tmp_path, "coco", orientation="auto" if orientation not in KEEPS_SIZE else drawn), root)

    def test_boxes_are_turned_as_masks_are(self, orientation, drawn):  # noqa: ARG002
        turned = upright(STORED, orientation)
        rows, columns = np.nonzero(turned)
        expected = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert turned_box((4, 3, 16, 6), Frame(*STORED.shape), orientation) == expected


@pytest.mark.parametrize("orientation", SWAPS_SIDES)
def test_a_square_image_and_truth_without_a_size_tell_nothing(tmp_path, orientation):
    square = source(tmp_path / "square", orientation, "stored", STORED[:, :24])
    with pytest.raises(DataError, match="cannot be told"):
        run(square, tmp_path / "a")
    assert check_overlap(run(square, tmp_path / "b", orientation="stored"), square)
    unsized = coco_source(tmp_path / "unsized", orientation, "stored", sized=False)
    with pytest.raises(DataError, match=r"has no height and width .* set data\.orientation"):
        run(unsized, tmp_path / "c", "coco")
    assert check_overlap(run(unsized, tmp_path / "d", "coco", orientation="stored"), unsized)


def test_truth_of_neither_size_is_refused(tmp_path):
    root = source(tmp_path / "root", 6, "stored")
    Image.fromarray(STORED[:20]).save(root / "PedMasks" / "a_mask.png")
    with pytest.raises(DataError, match=r"36x20 pixels, but its image PNGImages/a\.jpg is 24x36"):
        run(root, tmp_path)


def test_a_mask_that_is_flagged_itself_is_refused(tmp_path):
    root = source(tmp_path / "root", 6, "stored")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(STORED).save(root / "PedMasks" / "a_mask.png", exif=exif)
    with pytest.raises(DataError, match=r"a_mask\.png carries a flag .*EXIF orientation 6"):
        run(root, tmp_path)


def test_prepare_does_the_same(tmp_path):
    root = source(tmp_path / "root", 3, "stored")
    for name in ("PNGImages/{}.jpg", "PedMasks/{}_mask.png"):
        shutil.copy(root / name.format("a"), root / name.format("b"))
    settings = catalog.get("pennfudan").Settings(source=str(root), orientation="stored", splits=Splits(method="every", val=0.5, test=0))
    download(settings, root=root, seed=0, target=tmp_path / "raw")
    prepare(settings, raw=tmp_path / "raw", root=root, target=tmp_path / "prepared")
    data = PreparedDataset(tmp_path / "prepared")
    for name in data.info.counts:
        [sample] = data.split(name, data.info.truths)
        np.testing.assert_array_equal(sample.image[..., 0] > 127, sample.mask == 1)
    assert json.loads((data.folder / "check.json").read_text())["turned"] == {"truth as stored": ["PNGImages/a.jpg", "PNGImages/b.jpg"]}
