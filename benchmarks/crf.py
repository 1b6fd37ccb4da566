"""Dense CRF measured on CamVid: what it makes of coarse probabilities, at boundaries and all over, and how long it takes.

    python benchmarks/crf.py CAMVID [MODEL.onnx]

CAMVID: the folder with `val` and `valannot`. Without a model the probabilities are made of the truth, as coarse as a network of stride 8 sees it, displaced
and noisy: they show what the refinement can do, not what a trained network gains. Of every n-th image, with the published settings of both DeepLabs.
The mean field is held against one that sums over all pairs of pixels, on a cut-out of the first image. The result is `benchmarks/crf.json`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import results
from numpy.typing import NDArray
from PIL import Image

from segline.models import catalog
from segline_runtime import crf
from segline_runtime.predictor import Predictor
from segline_runtime.semantic import SemanticPrediction, enlarged, softmax
from segline_runtime.specification import Crf, ImageKind

CLASSES = 11
EVERY = 10
STRIDE = 8
CERTAINTY, NOISE, DISPLACED = 5.0, 1.2, 4
"""Logit of the true class, standard deviation of the noise of all logits, pixels."""

BAND = 4
"""Pixels on either side of a boundary between two classes that count as the boundary."""

CUT = (72, 96)
"""Height and width of the cut-out for the comparison with all pairs."""

Ids = NDArray[np.uint8]
Shares = NDArray[np.float32]


def main(folder: Path, model: Path | None) -> None:
    files = sorted((folder / "val").iterdir())[::EVERY]
    predictor = None if model is None else Predictor(model, providers=["CPUExecutionProvider"], threads=1)
    settings: dict[str, Crf] = {}
    for arch in ("deeplabv1", "deeplabv2"):
        refinement = catalog.settings(arch).model_validate({"arch": arch, "predict": {"crf": {}}}).predict.refinement
        assert refinement is not None
        settings[arch] = refinement
    counted: dict[str, dict[str, NDArray[np.int64]]] = {way: _nothing() for way in ("as it is", *settings)}
    seconds: dict[str, list[float]] = {way: [] for way in settings}
    for number, file in enumerate(files):
        image = np.asarray(Image.open(file).convert("RGB"))
        truth = np.asarray(Image.open(folder / "valannot" / f"{file.stem}.png"))
        shares = _coarse(truth, number) if predictor is None else _predicted(predictor, image)
        _count(counted["as it is"], shares, truth)
        for way, refinement in settings.items():
            started = time.process_time()
            refined = crf.refined(shares, image, ImageKind(), refinement)
            seconds[way].append(time.process_time() - started)
            _count(counted[way], refined, truth)
        if number == 0:
            beside = {way: _beside_all_pairs(shares, image, refinement) for way, refinement in settings.items()}
    found = {way: {part: round(_miou(table), 4) for part, table in tables.items()} for way, tables in counted.items()}
    for way in settings:
        found[way] |= {"cpu_seconds_an_image": round(float(np.median(seconds[way])), 2), "beside_all_pairs": beside[way]}
    figures = {"images": len(files), "image_size": list(truth.shape), "classes": CLASSES, "probabilities": "of the truth" if model is None else str(model.name)}
    results.write(results.beside(__file__), {**figures, "miou": found, "band_px": BAND})


def _coarse(truth: Ids, seed: int) -> Shares:
    """Probabilities `(K, H, W)` that know each 8 × 8 pixels by their classes' shares, some pixels aside, with noise."""
    height, width = truth.shape
    rows, columns = height // STRIDE, width // STRIDE
    moved = np.roll(truth, DISPLACED, axis=(0, 1))[: rows * STRIDE, : columns * STRIDE]
    cells = moved.reshape(rows, STRIDE, columns, STRIDE)
    shares = np.stack([(cells == number).mean(axis=(1, 3)) for number in range(CLASSES)])
    logits = CERTAINTY * shares + np.random.default_rng(seed).normal(0, NOISE, shares.shape)
    return softmax(enlarged(logits.astype(np.float32), (height, width)))


def _predicted(predictor: Predictor, image: NDArray[np.uint8]) -> Shares:
    prediction = predictor(image, probabilities=True)
    assert isinstance(prediction, SemanticPrediction) and prediction.probabilities is not None
    return prediction.probabilities


def _nothing() -> dict[str, NDArray[np.int64]]:
    return {"everywhere": np.zeros((CLASSES, CLASSES), np.int64), "at boundaries": np.zeros((CLASSES, CLASSES), np.int64)}


def _count(tables: dict[str, NDArray[np.int64]], shares: Shares, truth: Ids) -> None:
    found, known = shares.argmax(axis=0), truth < CLASSES
    for part, where in (("everywhere", known), ("at boundaries", known & _near_boundaries(truth))):
        tables[part] += np.bincount(truth[where].astype(np.int64) * CLASSES + found[where], minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def _near_boundaries(truth: Ids) -> NDArray[np.bool_]:
    near = np.zeros(truth.shape, dtype=np.bool_)
    near[1:] |= truth[1:] != truth[:-1]
    near[:, 1:] |= truth[:, 1:] != truth[:, :-1]
    for axis in (0, 1):
        edge = near.copy()
        for step in range(1, BAND + 1):
            near |= np.roll(edge, step, axis) | np.roll(edge, -step, axis)
    return near


def _miou(table: NDArray[np.int64]) -> float:
    """Of the classes that occur."""
    hits = np.diag(table)
    union = table.sum(0) + table.sum(1) - hits
    return float((hits[union > 0] / union[union > 0]).mean())


def _beside_all_pairs(shares: Shares, image: NDArray[np.uint8], settings: Crf) -> dict[str, float]:
    """How far the refinement of a cut-out is from the one whose kernels are sums over all pairs of pixels."""
    top, left = (image.shape[0] - CUT[0]) // 2, (image.shape[1] - CUT[1]) // 2
    shares, image = shares[:, top : top + CUT[0], left : left + CUT[1]].copy(), image[top : top + CUT[0], left : left + CUT[1]]
    places = np.stack(np.mgrid[: CUT[0], : CUT[1]], -1).reshape(-1, 2).astype(np.float32)
    colours = image.reshape(-1, 3).astype(np.float32)
    kernels = []
    widths = ((settings.appearance, settings.appearance_position, settings.appearance_colour), (settings.smoothness, settings.smoothness_position, None))
    for weight, position, colour in widths:
        exponent = _apart(places / position)
        if colour is not None:
            exponent += _apart(colours / colour)
        kernel = np.exp(-0.5 * exponent)
        sums = np.sqrt(kernel.sum(1))
        kernels.append(np.float32(weight) * kernel / sums / sums[:, None])
    both = kernels[0] + kernels[1]
    evidence = np.log(np.maximum(shares, 1e-5)).reshape(CLASSES, -1)
    current = shares.reshape(CLASSES, -1)
    for _ in range(settings.iterations):
        current = softmax(evidence + current @ both)
    exact = current.reshape(shares.shape)
    found = crf.refined(shares, image, ImageKind(), settings)
    difference = np.abs(found - exact)
    other = (found.argmax(0) != exact.argmax(0)).mean()
    figures = {"probability_max": difference.max(), "probability_mean": difference.mean(), "differing_pixels": other}
    return {name: round(float(value), 5) for name, value in figures.items()}


def _apart(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distances of all pairs, `(N, N)`."""
    squares = (points**2).sum(1)
    return np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
