"""Objects keep the boxes and areas of their source: what is scored is the truth that was published, not one drawn anew from its masks."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segline.data.contents import Contents
from segline.data.formats import catalog
from segline.data.prepare import read_folder
from segline.data.store import EncodedMasks, Instances
from segline.metrics import box_ap, mask_ap
from segline.metrics.figures import figures
from segline.metrics.instance import InstanceScorer
from segline_runtime.predictions import InstancePrediction
from segline_runtime.specification import ClassInfo

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
H, W = 40, 60
SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


def coco(root, annotations, categories=("cat",)):
    """A COCO folder of one image of 40x60."""
    (root / "train").mkdir(parents=True)
    (root / "annotations").mkdir()
    Image.fromarray(np.full((H, W, 3), 90, np.uint8)).save(root / "train" / "a.png")
    numbered = [{"id": i, "image_id": 1, "category_id": 1, "iscrowd": 0, **annotation} for i, annotation in enumerate(annotations, start=1)]
    listed = [{"id": i, "name": name} for i, name in enumerate(categories, start=1)]
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": numbered, "categories": listed}
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))
    return root


def prepared(root, target, names=("cat",)):
    """All of a COCO folder as one split."""
    classes = [ClassInfo(0, "background", (0, 0, 0), False), *(ClassInfo(i, name, (9, 9, 9), True) for i, name in enumerate(names, start=1))]
    return read_folder(catalog.get("coco").Settings(source=str(root)), root, target, model_classes=classes)


@pytest.mark.parametrize("area", [99.125, 99, 2**64])
def test_box_and_area_of_the_source_are_kept(tmp_path, area):
    root = coco(tmp_path / "root", [{"segmentation": SQUARE, "bbox": [9.5, 10.25, 10.75, 9.5], "area": area}])
    data = prepared(root, tmp_path / "prepared")
    stored = Contents(data.folder / "test").objects(0)
    assert (stored.boxes.tolist(), stored.areas.tolist()) == ([[9.5, 10.25, 10.75, 9.5]], [area])
    objects = data.split("test", ("instances",))[0].instances
    assert objects.boxes.tolist() == [[9.5, 10.25, 20.25, 19.75]] and objects.areas.tolist() == [area]
    assert objects.masks.sum() == 100


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"area": None},
        {"bbox": [], "area": 0},
        {"bbox": [0, 0, 0, 0], "area": 0},
        {"bbox": [40, 30, 5, 5], "area": 25},
        {"bbox": [-9, -9, 2, 2]},
        {"bbox": [10, 10, 1, 1], "area": 1},
        {"bbox": [10, 10, 20, 20], "area": 400},  # [x1, y1, x2, y2]
    ],
)
def test_placeholders_are_drawn_anew_from_the_mask(tmp_path, said):
    data = prepared(coco(tmp_path / "root", [{"segmentation": SQUARE, **said}]), tmp_path / "prepared")
    objects = data.split("test", ("instances",))[0].instances
    assert objects.boxes.tolist() == [[10, 10, 20, 20]] and objects.areas.tolist() == [100]
    noted = json.loads((data.folder / "check.json").read_text())["boxes_redrawn"]
    assert noted == ({"annotations/instances_train.json": 1} if said.get("bbox") else {})


@pytest.mark.parametrize(
    "said",
    [
        {"segmentation": SQUARE, "bbox": [10, 10, 20, 20], "area": 7, "iscrowd": 1},
        {"segmentation": [[10, 10, 11, 10, 11, 30, 10, 30]], "bbox": [10.3, 9.8, 0.4, 20.2], "area": 7},  # thinner than the pixels that it covers
        {"segmentation": SQUARE, "bbox": [8, 8, 14, 14], "area": 7},
    ],
)
def test_boxes_of_crowds_of_thin_objects_and_loose_ones_are_kept(tmp_path, said):
    data = prepared(coco(tmp_path / "root", [said]), tmp_path / "prepared")
    objects = data.split("test", ("instances",))[0].instances
    x, y, width, height = said["bbox"]
    np.testing.assert_allclose(objects.boxes, [[x, y, x + width, y + height]], rtol=1e-6)
    assert objects.areas.tolist() == [7]
    assert json.loads((data.folder / "check.json").read_text())["boxes_redrawn"] == {}


def test_a_box_ends_at_the_border_of_its_image(tmp_path):
    outline = [[0, 12, 20, 12, 20, 40, 0, 40]]
    data = prepared(coco(tmp_path / "root", [{"segmentation": outline, "bbox": [-5, 10, 25, 50], "area": 7}]), tmp_path / "prepared")
    objects = data.split("test", ("instances",))[0].instances
    assert objects.boxes.tolist() == [[0, 10, 20, 40]] and objects.areas.tolist() == [7]


def test_boxes_alone_keep_their_area(tmp_path):
    data = prepared(coco(tmp_path / "root", [{"bbox": [1, 2, 10, 20], "area": 150.5}, {"bbox": [1, 2, 4, 5]}]), tmp_path / "prepared")
    assert data.split("test", ("boxes",))[0].instances.areas.tolist() == [150.5, 20.0]


def test_areas_that_nobody_gave_are_those_of_the_masks_or_boxes():
    masks = np.zeros((2, 8, 8), np.bool_)
    masks[0, :2, :3] = masks[1, 5, 5] = True
    boxes = np.array([[0, 0, 4, 2], [5, 5, 6, 6]], np.float32)
    rest = (boxes, np.ones(2, np.int64), np.zeros(2, np.bool_))
    assert Instances(masks, *rest).areas.tolist() == [6, 1]
    assert Instances(EncodedMasks(Instances(masks, *rest).rles(), (8, 8)), *rest).areas.tolist() == [6, 1]
    assert Instances(None, *rest).areas.tolist() == [8, 1]


def test_the_area_of_the_source_says_what_is_small(tmp_path):
    square = [[2, 2, 35, 2, 35, 35, 2, 35]]  # 33² = 1089 pixels: medium, if its mask were asked
    data = prepared(coco(tmp_path / "root", [{"segmentation": square, "bbox": [2, 2, 33, 33], "area": 1000}]), tmp_path / "prepared")
    sample = data.split("test", ("instances",))[0]
    scorer = InstanceScorer(data.info.classes)
    scorer.add(InstancePrediction(np.ones(1, np.float32), np.ones(1, np.int64), sample.instances.boxes, sample.instances.masks), sample)
    found = figures(scorer.counts(), [mask_ap.METRIC, box_ap.METRIC], data.info.classes)
    assert found["mask_ap_small"] == pytest.approx(1) == found["box_ap_small"] and "mask_ap_medium" not in found


def _official(file, found):
    """pycocotools' AP of detections against an annotation file as it was published: {kind: {area: AP}}."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(file)
        figures = {}
        for kind, other in (("segm", "bbox"), ("bbox", "segmentation")):
            # Of results that have both, pycocotools takes the boxes for the masks.
            results = truth.loadRes([{key: value for key, value in one.items() if key != other} for one in found])
            evaluation = COCOeval(truth, results, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            figures[kind] = dict(zip(("all", "small", "medium", "large"), evaluation.stats[[0, 3, 4, 5]].tolist(), strict=True))
    return figures


@pytest.mark.parametrize("noise", [0.0, 0.08])
def test_real_boxes_and_areas_are_scored_as_published(tmp_path, noise):
    """What is perfect scores 1; what is not scores in each range of area as pycocotools has it."""
    root = SHARED / "coco_tiny"
    if not root.is_dir():
        pytest.skip("the real data coco_tiny is not beside the checkout")
    small = tmp_path / "root"
    (small / "annotations").mkdir(parents=True)
    file = root / "annotations" / "instances_val2017.json"
    (small / "val2017").symlink_to((root / "val2017").resolve())
    content = json.loads(file.read_text())
    with contextlib.redirect_stdout(io.StringIO()):
        original = COCO(file)
    # An object whose polygons cover no pixel is left out, and told: it has no mask that a model could find.
    content["annotations"] = [a for a in content["annotations"] if original.annToMask(a).any()]
    kept = small / "annotations" / "instances_val2017.json"
    kept.write_text(json.dumps(content))
    data = prepared(small, tmp_path / "prepared", [c["name"] for c in sorted(content["categories"], key=lambda c: c["id"])])
    labels = {c["id"]: i for i, c in enumerate(sorted(content["categories"], key=lambda c: c["id"]), start=1)}
    scorer = InstanceScorer(data.info.classes)
    results = []
    random = np.random.default_rng(0)
    for sample in data.split("test", ("instances",)):
        own = [a for a in original.imgToAnns[int(sample.name)] if not a["iscrowd"] and original.annToMask(a).any()]
        boxes, masks, scores = [], [], []
        for annotation in own:
            x, y, width, height = annotation["bbox"]
            move = random.normal(0, noise, 2) * (width, height)
            mask = np.roll(original.annToMask(annotation), np.rint(move[::-1]).astype(int), axis=(0, 1))
            boxes.append([x + move[0], y + move[1], x + move[0] + width, y + move[1] + height])
            masks.append(mask.astype(bool))
            scores.append(float(np.float32(random.random())))
            encoded = rle.encode(np.asfortranarray(mask))
            box = [float(v) for v in np.array(boxes[-1], np.float32)]
            results.append(
                {
                    "image_id": int(sample.name),
                    "category_id": annotation["category_id"],
                    "segmentation": encoded,
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "score": scores[-1],
                }
            )
        size = sample.image.shape[:2]
        stacked = np.array(masks, np.bool_).reshape(-1, *size)
        numbers = np.array([labels[a["category_id"]] for a in own], np.int64)
        scorer.add(InstancePrediction(np.array(scores, np.float32), numbers, np.array(boxes, np.float32).reshape(-1, 4), stacked), sample)
    found = figures(scorer.counts(), [mask_ap.METRIC, box_ap.METRIC], data.info.classes)
    if not noise:
        assert found["mask_ap"] == found["box_ap"] == pytest.approx(1.0, abs=1e-9)
        return
    assert 0.2 < found["box_ap"] < 0.9
    expected = _official(kept, results)
    for kind, word in (("segm", "mask_ap"), ("bbox", "box_ap")):
        for area in ("small", "medium", "large"):
            assert found[f"{word}_{area}"] == pytest.approx(expected[kind][area], abs=1e-6), (kind, area)
