"""Instance metrics against pycocotools' own evaluation of files, torchmetrics, and the worked examples of the field."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchmetrics.detection import MeanAveragePrecision

from segline.data.run_lengths import encode, of_box
from segline.data.store import EncodedMasks, Instances, Sample
from segline.metrics import catalog, detection_matching, placed_codes
from segline.metrics.average_precision import precision
from segline.metrics.detection_counts import AREAS, RECALLS, THRESHOLDS
from segline.metrics.figures import figures as figures_of
from segline.metrics.instance import InstanceScorer
from segline.metrics.matching import Matching, match
from segline.metrics.overlaps import mask_overlaps, outlines
from segline_runtime.masks import extent
from segline_runtime.predictions import InstancePrediction
from segline_runtime.specification import ClassInfo

CLASSES = [ClassInfo(0, "background", (0, 0, 0), False), *(ClassInfo(i, name, (9, 9, 9), True) for i, name in enumerate(["disc", "ring; open", "star"], 1))]
SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
METRICS = [catalog.get(word) for word in ("mask_ap", "box_ap", "object_support")]
Pair = tuple[InstancePrediction, Sample]


def _metrics(scorer: InstanceScorer) -> dict[str, float]:
    return figures_of(scorer.counts(), METRICS, scorer.classes)


def _boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    boxes = np.zeros((len(masks), 4), np.float32)
    for i, mask in enumerate(masks):
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            boxes[i] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def _truth(masks: NDArray[np.bool_], labels: list[int], crowd: list[bool] | None = None, image_id: int = 0) -> Sample:
    instances = Instances(masks, _boxes(masks), np.array(labels, np.int64), np.array(crowd or [False] * len(labels), np.bool_))
    return Sample(image_id, f"image{image_id}", np.zeros((*masks.shape[1:], 3), np.uint8), None, instances)


def _found(masks: NDArray[np.bool_], labels: list[int], scores: list[float]) -> InstancePrediction:
    return InstancePrediction(np.array(scores, np.float32), np.array(labels, np.int64), _boxes(masks), masks)


def _squares(*corners: tuple[int, int, int], size: tuple[int, int] = (60, 80)) -> NDArray[np.bool_]:
    """Squares given as (top, left, side)."""
    masks = np.zeros((len(corners), *size), np.bool_)
    for mask, (top, left, side) in zip(masks, corners, strict=True):
        mask[top : top + side, left : left + side] = True
    return masks


def _split(seed: int, images: int = 8, *, labels: int = 3, crowds: float = 0.15, size: int = 160) -> list[Pair]:
    """Random ellipses, overlapping, of all of COCO's sizes; predictions are moved, lost, invented, given a wrong class or an equal score."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, : size + 20]

    def ellipse() -> NDArray[np.bool_]:
        y, x = random.integers(0, size, 2)
        a, b = random.integers(3, 80, 2)
        return ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 <= 1

    pairs = []
    for i in range(images):
        count = int(random.integers(0, 6))
        true = np.array([ellipse() for _ in range(count)], np.bool_).reshape(count, size, size + 20)
        true_labels = random.integers(1, labels + 1, count)
        kept = np.flatnonzero(random.random(count) < 0.85)
        extra = int(random.integers(0, 4))
        masks = [np.roll(true[k], random.integers(-6, 7, 2), (0, 1)) for k in kept] + [ellipse() for _ in range(extra)]
        found_labels = [int(true_labels[k]) if random.random() < 0.9 else int(random.integers(1, labels + 1)) for k in kept]
        found_labels += random.integers(1, labels + 1, extra).tolist()
        order = np.argsort(-(scores := random.random(len(masks)).round(1)), kind="stable")
        stack = np.array(masks, np.bool_).reshape(len(masks), size, size + 20)
        truth = _truth(true, true_labels.tolist(), (random.random(count) < crowds).tolist(), image_id=3 * i)
        pairs.append((_found(stack[order], [found_labels[o] for o in order], scores[order].tolist()), truth))
    return pairs


def _scored(pairs: list[Pair]) -> InstanceScorer:
    scorer = InstanceScorer(CLASSES)
    for prediction, truth in pairs:
        scorer.add(prediction, truth)
    return scorer


def _from_files(pairs: list[Pair], folder: Path, kind: str) -> tuple[Any, Any]:
    """pycocotools the usual way: annotations and results as files, sparse category ids, default settings."""
    category = {1: 7, 2: 18, 3: 90}
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": c, "name": str(c)} for c in category.values()]}
    results: list[dict[str, Any]] = []

    def encoded(mask: NDArray[np.bool_]) -> dict[str, Any]:
        code = rle.encode(np.asfortranarray(mask, np.uint8))
        return {**code, "counts": code["counts"].decode()}

    def xywh(box: NDArray[np.float32]) -> list[float]:
        return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]

    for prediction, truth in pairs:
        assert truth.instances is not None
        content["images"].append({"id": truth.image_id, "height": truth.image.shape[0], "width": truth.image.shape[1]})
        for mask, box, label, crowd in zip(truth.instances.masks, truth.instances.boxes, truth.instances.labels, truth.instances.crowd, strict=True):
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": truth.image_id,
                    "category_id": category[int(label)],
                    "iscrowd": int(crowd),
                    "area": int(mask.sum()),
                    "bbox": xywh(box),
                    "segmentation": encoded(mask),
                }
            )
        for mask, box, label, score in zip(prediction.masks, prediction.boxes, prediction.labels, prediction.scores, strict=True):
            shape = {"segmentation": encoded(mask)} if kind == "mask" else {"bbox": xywh(box)}
            results.append({"image_id": truth.image_id, "category_id": category[int(label)], "score": float(score), **shape})
    (folder / "truth.json").write_text(json.dumps(content))
    (folder / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(coco, coco.loadRes(str(folder / "results.json")), {"mask": "segm", "box": "bbox"}[kind])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats, evaluation.eval["precision"]


@pytest.mark.parametrize("kind", ["mask", "box"])
@pytest.mark.parametrize(("seed", "crowds", "labels"), [(0, 0.0, 3), (1, 0.3, 3), (2, 0.2, 1), (3, 0.2, 2)])
def test_agrees_with_pycocotools_on_files(tmp_path: Path, kind: str, seed: int, crowds: float, labels: int) -> None:
    pairs = _split(seed, crowds=crowds, labels=labels)
    figures = _metrics(_scored(pairs))
    stats, precision = _from_files(pairs, tmp_path, kind)
    names = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar", "ar_small", "ar_medium", "ar_large"]
    for name, value in zip(names, stats, strict=True):
        if value >= 0:
            assert figures[f"{kind}_{name}"] == pytest.approx(value, abs=1e-9), name
        else:
            assert f"{kind}_{name}" not in figures
    for k, key in enumerate(["disc", "ring_open", "star"]):
        of_class = precision[:, :, k, 0, -1]
        if (of_class >= 0).any():
            assert figures[f"{kind}_ap/{key}"] == pytest.approx(of_class.mean())
            assert figures[f"{kind}_ap50/{key}"] == pytest.approx(of_class[0].mean())
        else:
            assert f"{kind}_ap/{key}" not in figures
            assert figures[f"support/{key}"] == 0


def test_agrees_with_torchmetrics() -> None:
    pairs = _split(11)
    figures = _metrics(_scored(pairs))
    # Its own thresholds are float32: 0.6 becomes 0.60000002 there, and a recall of 3 in 5 falls short of it.
    exact = {"iou_thresholds": np.linspace(0.5, 0.95, 10).tolist(), "rec_thresholds": np.linspace(0, 1, 101).tolist()}
    reference = MeanAveragePrecision(iou_type=("bbox", "segm"), backend="pycocotools", **exact)
    for prediction, truth in pairs:
        objects = truth.instances
        assert objects is not None
        found = {"boxes": prediction.boxes, "masks": prediction.masks, "labels": prediction.labels, "scores": prediction.scores}
        areas = objects.masks.sum(axis=(1, 2))
        true = {"boxes": objects.boxes, "masks": objects.masks, "labels": objects.labels, "iscrowd": objects.crowd.astype(np.int64), "area": areas}
        reference.update([{k: torch.from_numpy(v) for k, v in found.items()}], [{k: torch.from_numpy(v) for k, v in true.items()}])
    computed = reference.compute()
    for theirs, ours in {"map": "ap", "map_50": "ap50", "map_75": "ap75", "mar_100": "ar"}.items():
        assert figures[f"mask_{ours}"] == pytest.approx(computed[f"segm_{theirs}"].item(), abs=1e-5)
        assert figures[f"box_{ours}"] == pytest.approx(computed[f"bbox_{theirs}"].item(), abs=1e-5)


def test_two_truths_found_with_one_mistake_between() -> None:
    masks = _squares((5, 5, 10), (30, 40, 12), (5, 60, 10))
    truth = _truth(masks[:2], [1, 1])
    scorer = InstanceScorer(CLASSES)
    scorer.add(_found(masks[[0, 2, 1]], [1, 1, 1], [0.9, 0.8, 0.7]), truth)
    expected = (51 + 50 * 2 / 3) / 101
    assert expected == pytest.approx(0.8350, abs=5e-5)
    figures = _metrics(scorer)
    for key in ("mask_ap", "mask_ap50", "mask_ap75", "box_ap50", "mask_ap50/disc"):
        assert figures[key] == pytest.approx(expected)


def test_an_extra_class_or_size_without_truth_takes_no_part() -> None:
    masks = _squares((5, 5, 10), (30, 40, 12))
    scorer = InstanceScorer(CLASSES)
    scorer.add(_found(masks, [1, 3], [0.9, 0.8]), _truth(masks[:1], [1]))
    figures = _metrics(scorer)
    assert figures["mask_ap"] == pytest.approx(1)
    assert figures["support/disc"] == 1
    assert figures["support/star"] == 0
    assert not {"mask_ap/star", "mask_ap_large", "box_ap_medium", "support/background"} & set(figures)


def test_area_is_that_of_the_mask() -> None:
    # A thin frame has a box of 100 × 100 (large), and a mask of 396 pixels (small).
    frame = _squares((10, 10, 100), size=(120, 120)) & ~_squares((11, 11, 98), size=(120, 120))
    scorer = InstanceScorer(CLASSES)
    scorer.add(_found(frame, [1], [0.9]), _truth(frame, [1]))
    figures = _metrics(scorer)
    assert figures["mask_ap_small"] == pytest.approx(1)
    assert "box_ap_large" not in figures


def test_class_zero_is_a_class_like_any_other() -> None:
    masks = _squares((5, 5, 10), (30, 40, 12))
    scorer = InstanceScorer([ClassInfo(0, "cell", (1, 2, 3), True)])
    scorer.add(_found(masks, [0, 0], [0.9, 0.8]), _truth(masks, [0, 0]))
    assert _metrics(scorer)["mask_ap/cell"] == pytest.approx(1)


def test_more_than_a_hundred_detections_keep_the_best_hundred() -> None:
    masks = _squares(*[(5, 5, 10)] * 150)
    scorer = InstanceScorer(CLASSES)
    scorer.add(_found(masks, [1] * 150, np.linspace(0.1, 0.9, 150).tolist()), _truth(masks[:1], [1]))
    assert _metrics(scorer)["mask_ap"] == pytest.approx(1)


def test_nothing_found_and_nothing_there() -> None:
    nothing = np.zeros((0, 60, 80), np.bool_)
    something = _squares((5, 5, 20))
    cases = {"neither": (nothing, nothing), "unfound": (nothing, something), "unfounded": (something, nothing)}
    figures, scores = {}, {}
    for name, (found, true) in cases.items():
        scorer = InstanceScorer(CLASSES)
        scores[name] = scorer.add(_found(found, [1] * len(found), [0.9] * len(found)), _truth(true, [1] * len(true)))
        figures[name] = _metrics(scorer)
        json.dumps(figures[name], allow_nan=False)
    assert scores == {"neither": 1, "unfound": 0, "unfounded": 0}
    assert figures["unfound"]["mask_ap"] == figures["unfound"]["box_ar"] == 0
    for name in ("neither", "unfounded"):
        assert "mask_ap" not in figures[name]
    assert _metrics(InstanceScorer(CLASSES)) == {"support/disc": 0, "support/ring_open": 0, "support/star": 0}


def test_halves_merged_in_any_order_equal_the_whole() -> None:
    pairs = _split(5)
    whole = _scored(pairs)
    for first, second in ((pairs[:3], pairs[3:]), (pairs[3:], pairs[:3]), (pairs[::-1], []), (pairs, pairs[:2])):
        merged = _scored(first)
        _metrics(merged)  # what was computed before must not linger
        merged.merge(pickle.loads(pickle.dumps(_scored(second).state())))
        assert _metrics(merged) == _metrics(whole)


def _evaluated(pairs: list[Pair], kind: str) -> COCOeval:
    """COCOeval on all images at once."""
    sides: list[COCO] = []
    for side in ("truth", "found"):
        coco, annotations = COCO(), []
        for prediction, sample in pairs:
            objects = prediction if side == "found" else sample.instances
            assert objects is not None
            for i in range(len(objects.labels)):
                code, (x1, y1, x2, y2) = rle.encode(np.asfortranarray(objects.masks[i], np.uint8)), objects.boxes[i].astype(float)
                area = float((x2 - x1) * (y2 - y1)) if side == "found" and kind == "box" else float(objects.masks[i].sum())
                number = len(annotations) + 1
                annotation = {"id": number, "image_id": sample.image_id, "category_id": int(objects.labels[i]) + 1, "segmentation": code, "area": area}
                annotation |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
                annotation |= {"score": float(objects.scores[i])} if isinstance(objects, InstancePrediction) else {"iscrowd": int(objects.crowd[i])}
                annotations.append(annotation)
        images = [{"id": s.image_id, "height": s.image.shape[0], "width": s.image.shape[1]} for _, s in pairs]
        coco.dataset = {"images": images, "categories": [{"id": k + 1} for k in range(len(CLASSES))], "annotations": annotations}
        coco.createIndex()
        sides.append(coco)
    evaluation = COCOeval(*sides, {"mask": "segm", "box": "bbox"}[kind])
    evaluation.params.maxDets = [100]
    evaluation.evaluate()
    return evaluation


def _accumulated(pairs: list[Pair], kind: str) -> dict[str, Any]:
    evaluation = _evaluated(pairs, kind)
    evaluation.accumulate()
    found: dict[str, Any] = evaluation.eval
    return found


@pytest.mark.parametrize("kind", ["mask", "box"])
@pytest.mark.parametrize("seed", range(4))
def test_curves_are_those_that_pycocotools_accumulates(kind: str, seed: int) -> None:
    # Many equal scores, crowds, and images with nothing in them or nothing found.
    pairs = _split(20 + seed, 12, crowds=0.3, labels=2 + seed % 2, size=60)
    crowded = _squares(*[(i % 40, 3 * i % 60, 6 + i % 5) for i in range(140)])
    pairs.append((_found(crowded, [1] * 140, [round(0.9 - i / 300, 2) for i in range(140)]), _truth(crowded[::7], [1] * 20, image_id=2)))
    pairs.append((_found(crowded[:0], [], []), _truth(crowded[:0], [], image_id=1)))
    scorer = _scored(pairs[::-1])
    expected, found = _accumulated(pairs, kind), precision(scorer.counts(), kind)
    for ours, theirs in ((found.precision, expected["precision"][..., 0]), (found.recall, expected["recall"][..., 0])):
        np.testing.assert_array_equal(np.isnan(ours), theirs < 0)
        np.testing.assert_allclose(np.nan_to_num(ours, nan=-1), theirs, rtol=0, atol=1e-12)


def _tied(seed: int, *, labels: int, objects: int) -> Pair:
    """Squares on a coarse grid, so that many overlaps, areas and scores are equal; some crowds, some masks empty; sides beside COCO's limits of area."""
    random = np.random.default_rng(seed)

    def squares(count: int) -> NDArray[np.bool_]:
        corners = [(*(2 * random.integers(0, 4, 2)), int(random.choice([0, 8, 31, 32, 33, 95, 96, 97, 110]))) for _ in range(count)]
        return _squares(*corners, size=(110, 104))  # the largest reaches both the upper and the lower border

    true, found = squares(objects), squares(3 * objects)
    truth = _truth(true, random.integers(1, labels + 1, objects).tolist(), (random.random(objects) < 0.3).tolist())
    scores = random.choice([0.1, 0.5, 0.5, 0.9], 3 * objects).tolist()
    return _found(found, random.integers(1, labels + 1, 3 * objects).tolist(), scores), truth


def _outcome(pair: Pair, kind: str) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]:
    """Labels with scores `(D, 2)`, hits and ignored `(D, A, T)` of one image, as COCOeval's `evaluateImg` tells them."""
    evaluation = _evaluated([pair], kind)
    ranked: list[tuple[int, float]] = []
    hits, ignored = [], []
    for k in range(len(CLASSES)):
        outcomes = evaluation.evalImgs[4 * k : 4 * k + 4]
        if outcomes[0] is None:
            continue
        ranked += [(k, score) for score in outcomes[0]["dtScores"]]
        taken = np.stack([outcome["dtMatches"].T > 0 for outcome in outcomes], axis=1)
        out = np.stack([outcome["dtIgnore"].T.astype(np.bool_) for outcome in outcomes], axis=1)
        hits.append(taken & ~out)
        ignored.append(out)
    return np.array(ranked).reshape(-1, 2), np.concatenate(hits), np.concatenate(ignored)


@pytest.mark.parametrize("kind", ["mask", "box"])
@pytest.mark.parametrize("objects", [1, 4, 12, 40])
def test_every_detection_ends_as_pycocotools_says(kind: str, objects: int) -> None:
    for seed in range(8):
        pair = _tied(seed, labels=1 + seed % 3, objects=objects)
        ranked, hits, ignored = _outcome(pair, kind)
        counts = _scored([pair]).counts()
        np.testing.assert_array_equal(np.stack([counts.label, counts.score], axis=1), ranked)
        np.testing.assert_array_equal(counts.hit(kind), hits)
        np.testing.assert_array_equal(counts.ignored(kind), ignored)


def test_thresholds_and_ranges_are_those_of_coco() -> None:
    params = COCOeval(iouType="segm").params
    np.testing.assert_array_equal(THRESHOLDS, params.iouThrs)
    np.testing.assert_array_equal(RECALLS, params.recThrs)
    assert tuple(params.areaRngLbl) == AREAS
    np.testing.assert_array_equal(detection_matching._RANGES, params.areaRng)
    assert params.maxDets[-1] == detection_matching.MAX_DETECTIONS


def test_codes_are_those_that_pycocotools_makes() -> None:
    random = np.random.default_rng(0)
    for case in range(600):
        mask = random.random(random.integers(1, 14, 2)) < random.choice([0, 0.05, 0.5, 0.95, 1])
        mask[:, : case % 4] = True  # whole columns, which one run fills
        expected = rle.encode(np.asfortranarray(mask, np.uint8))
        assert encode(mask) == of_box(mask) == expected
        rows, columns = extent(mask)
        wider = slice(max(rows.start - 1, 0), min(rows.stop + 1, mask.shape[0])), slice(max(columns.start - 2, 0), min(columns.stop + 1, mask.shape[1]))
        for within in ((rows, columns), wider, (slice(0, mask.shape[0]), slice(0, mask.shape[1]))):
            assert placed_codes.encode(mask, within) == expected


def test_masks_beside_their_boxes_are_found_all_the_same() -> None:
    """Nobody promises that a mask lies in its box."""
    masks = _squares((5, 5, 20), (30, 40, 12))
    prediction = replace(_found(masks, [1, 1], [0.9, 0.8]), boxes=np.array([(0, 0, 8, 8), (1, 1, 1, 1)], np.float32))
    around = outlines(prediction)
    assert around.areas.tolist() == [400, 144]
    truth = _truth(masks, [1, 1]).instances
    assert truth is not None
    np.testing.assert_array_equal(mask_overlaps(truth, prediction, around), np.eye(2))


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_all_twelve_figures_on_real_objects_are_those_of_pycocotools_and_hotcoco(kind: str) -> None:
    """Objects of photographs, small and large, some of them crowds; detections are the objects moved, and every score is one of four."""
    file = SHARED / "coco_tiny" / "annotations" / "instances_val2017.json"
    if not file.is_file():
        pytest.skip("the real data coco_tiny is not beside the checkout")
    content = json.loads(file.read_text())
    content["images"] = content["images"][:40]
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in sizes]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
    names = [category["id"] for category in content["categories"]]
    classes = [ClassInfo(k, str(name), (9, 9, 9), True) for k, name in enumerate(names)]
    random, scorer, results = np.random.default_rng(4), InstanceScorer(classes), []
    for number, size in sizes.items():
        given = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
        codes = [coco.annToRLE(one) for one in given]
        boxes = np.array([one["bbox"] for one in given], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([names.index(one["category_id"]) for one in given], np.int64)
        crowd, areas = np.array([one["iscrowd"] for one in given], np.bool_), np.array([one["area"] for one in given], np.float64)
        truth = Instances(EncodedMasks(codes, size), boxes, labels, crowd, areas)
        chosen = random.integers(0, max(len(given), 1), 2 * len(given)).tolist()
        masks = np.zeros((len(chosen), *size), np.bool_)
        for mask, i in zip(masks, chosen, strict=True):
            mask[:] = np.roll(truth.mask(i), random.integers(-4, 5, 2), (0, 1))
        prediction = _found(masks, labels[chosen].tolist(), random.choice([0.2, 0.5, 0.5, 0.9], len(chosen)).tolist())
        scorer.add(prediction, Sample(number, str(number), np.zeros((*size, 3), np.uint8), None, truth))
        for mask, label, score, box in zip(masks, prediction.labels, prediction.scores, prediction.boxes.astype(float), strict=True):
            shape = {"segmentation": rle.encode(np.asfortranarray(mask, np.uint8))} if kind == "mask" else {"bbox": [*box[:2], *(box[2:] - box[:2])]}
            results.append({"image_id": number, "category_id": names[int(label)], "score": float(score), **shape})
    found = figures_of(scorer.counts(), [catalog.get(f"{kind}_ap")], classes)
    words = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar", "ar_small", "ar_medium", "ar_large"]
    ours = [found[f"{kind}_{word}"] for word in words]
    for loaded, engine in ((coco, COCOeval), (hotcoco.COCO(content), hotcoco.COCOeval)):
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools writes into the results that it is given
            evaluation = engine(loaded, loaded.loadRes([dict(one) for one in results]), {"mask": "segm", "box": "bbox"}[kind])
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        np.testing.assert_allclose(ours, evaluation.stats, rtol=0, atol=1e-12)


def test_many_large_masks_need_little_memory() -> None:
    masks = np.zeros((60, 1000, 1500), np.bool_)
    for i, mask in enumerate(masks):
        mask[10 * i : 10 * i + 200, 20 * i : 20 * i + 150] = True
    sample, prediction = _truth(masks[:30], [1] * 30), _found(masks, [1] * 60, [0.9] * 60)
    tracemalloc.start()
    try:
        score = InstanceScorer(CLASSES).add(prediction, sample)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert score == pytest.approx(30 / 45)
    assert peak < 8e6  # bytes; one mask has 1.5 million pixels


def _match(truth: Sample, prediction: InstancePrediction) -> Matching:
    assert truth.instances is not None
    return match(truth.instances, prediction, mask_overlaps(truth.instances, prediction))


def test_image_score_is_panoptic_quality() -> None:
    true = _squares((0, 0, 10), (20, 20, 10), (40, 60, 10))
    shifted = _squares((0, 2, 10))  # shares 80 of 120 pixels with the first
    found = np.concatenate([shifted, true[1:2], _squares((40, 10, 10))])
    matching = _match(_truth(true, [1, 2, 3]), _found(found, [1, 2, 3], [0.9, 0.8, 0.7]))
    assert matching.pairs == [(0, 0), (1, 1)]
    assert matching.missed == [2]
    assert matching.wrong == [2]
    assert matching.score == pytest.approx((80 / 120 + 1) / (2 + 0.5 + 0.5))


def test_matching_takes_each_truth_once_and_only_its_class() -> None:
    mask = _squares((0, 0, 10), (0, 0, 10), (0, 0, 10), (0, 0, 10))
    matching = _match(_truth(mask[:1], [1]), _found(mask, [2, 1, 1, 1], [0.95, 0.9, 0.8, 0.3]))
    assert matching.pairs == [(0, 1)]
    assert matching.wrong == [0, 2]  # the last one is not confident


def test_a_find_inside_a_crowd_is_no_mistake() -> None:
    crowd = _squares((0, 0, 40))
    matching = _match(_truth(crowd, [1], [True]), _found(_squares((5, 5, 10), (5, 5, 10)), [1, 2], [0.9, 0.9]))
    assert matching.pairs == matching.missed == []
    assert matching.wrong == [1]  # the crowd is of another class


def test_plots(tmp_path: Path) -> None:
    scorer = _scored(_split(7))
    scorer.write_plots(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"pr_curve.csv", "pr_curve.png", "classes.csv", "classes.png"}
    with (tmp_path / "pr_curve.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 101
    assert np.mean([float(row["precision"]) for row in rows]) == pytest.approx(_metrics(scorer)["mask_ap50"], abs=1e-5)
    assert np.mean([float(row["precision/ring_open"]) for row in rows]) == pytest.approx(_metrics(scorer)["mask_ap50/ring_open"], abs=1e-5)
    for file in tmp_path.glob("*.png"):
        assert np.asarray(Image.open(file)).std() > 5


def test_plots_without_truth(tmp_path: Path) -> None:
    InstanceScorer(CLASSES).write_plots(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"pr_curve.png", "classes.csv", "classes.png"}
