"""Losses against their definitions, values computed by hand and other libraries, with ignored pixels; class weights; the criterion over named outputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch.nn import functional as F

from segline.data.store import IGNORE, Sample
from segline.errors import ParametersError
from segline.losses import catalog
from segline.losses.base import ClassWeightedLoss, LossSettings
from segline.losses.class_weights import class_weights
from segline.losses.criterion import Criterion
from segline.losses.settings import Loss
from segline.training.truth_maps import TruthMaps
from segline_runtime.specification import ClassInfo

Pair = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def pair() -> Pair:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 8, 9, generator=generator)
    truth = torch.randint(0, 4, (2, 8, 9), generator=generator)
    truth[0, :3] = IGNORE
    return logits, truth


def maps_of(term: LossSettings, truth: torch.Tensor, classes: int) -> dict[str, torch.Tensor]:
    """The map that a loss wants of a batch of masks, as the loader makes it; class ids above 0 are objects."""
    if term.wanted_map is None:
        return {}
    infos = [ClassInfo(i, f"class {i}", (0, 0, 0), i > 0) for i in range(classes)]
    made = TruthMaps([term.wanted_map], infos)
    found = []
    for one in truth:
        mask = one.numpy().astype(np.uint8)
        sample = Sample(1, "name", np.zeros((*mask.shape, 1), np.uint8), mask, None)
        found.append(torch.from_numpy(made.of_picture(mask, made.of_image(sample))[term.wanted_map.name]))
    return {term.wanted_map.name: torch.stack(found)}


def loss(name: str, logits: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor | None = None, **keys: object) -> torch.Tensor:
    term = catalog.settings(name).model_validate(keys)
    maps = [values.to(logits.dtype) for values in maps_of(term, truth, logits.shape[1]).values()]
    return term.compute(logits, truth, weights, *maps)


VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "cross_entropy": ({"label_smoothing": 0.1}, {"border": {"sigma": 1.5}, "label_smoothing": 0.1}),
    "binary_cross_entropy": ({"positive_weight": 3.0}, {"positive_weight": "balanced"}, {"border": {}}),
    "focal": ({"gamma": 0.0}, {"gamma": 0.5}, {"border": {"w0": 3.0}}),
    "binary_focal": ({"alpha": 0.6, "gamma": 1.0}, {"border": {"w0": 1.0}}),
    "ohem": ({"keep": 0.1, "threshold": 0.5}, {"keep": 1.0}, {"keep": 0.5, "border": {}}),
    "dice": ({"squared": True},),
    "jaccard": ({"log": True},),
    "tversky": ({"alpha": 1.0, "beta": 0.5},),
}
"""Keys other than the defaults that are worth the same questions."""

CASES = [pytest.param(name, keys, id=f"{name}-{keys}" if keys else name) for name in catalog.LOSSES for keys in ({}, *VARIANTS.get(name, ()))]


@pytest.mark.parametrize(("name", "keys"), CASES)
class TestEveryLoss:
    """What holds for each loss of the catalogue."""

    def test_it_falls_when_the_prediction_gets_better(self, name: str, keys: dict[str, Any], pair: Pair) -> None:
        _, truth = pair
        right = F.one_hot(truth.masked_fill(truth == IGNORE, 0), 4).permute(0, 3, 1, 2).float()
        smoothed = "label_smoothing" in keys  # asks for less than certainty
        values = [loss(name, confidence * (2 * right - 1), truth, **keys).item() for confidence in ((0.0, 0.3, 0.6, 1.0) if smoothed else (0.0, 0.5, 2.0, 5.0))]
        assert values == sorted(values, reverse=True)
        assert len(set(values)) == 4

    def test_ignored_pixels_count_for_nothing(self, name: str, keys: dict[str, Any], pair: Pair) -> None:
        logits, truth = pair
        other = logits.clone()
        other[0, :, :3] += 5 * torch.randn(4, 3, 9)
        assert loss(name, other, truth, **keys).item() == pytest.approx(loss(name, logits, truth, **keys).item(), rel=1e-6)

    def test_a_batch_without_truth_gives_zero_and_a_gradient(self, name: str, keys: dict[str, Any]) -> None:
        logits = torch.randn(1, 3, 4, 4, requires_grad=True)
        value = loss(name, logits, torch.full((1, 4, 4), IGNORE), **keys)
        value.backward()
        assert value.item() == 0.0
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()

    def test_its_gradient_is_the_one_of_finite_differences(self, name: str, keys: dict[str, Any], pair: Pair) -> None:
        logits, truth = pair
        asked = logits[:, :, :5, :4].double().requires_grad_()
        assert torch.autograd.gradcheck(lambda values: loss(name, values, truth[:, :5, :4], **keys), (asked,))

    @pytest.mark.parametrize("size", [30.0, 1e4, 6e4])
    def test_certainty_right_or_wrong_breaks_nothing(self, name: str, keys: dict[str, Any], pair: Pair, size: float) -> None:
        """Logits as large as float16 has them, of classes of which one is absent."""
        _, truth = pair
        sure = F.one_hot(torch.randint(0, 5, truth.shape, generator=torch.Generator().manual_seed(1)), 5).permute(0, 3, 1, 2)
        logits = (size * sure).half().requires_grad_()
        term = catalog.settings(name).model_validate(keys)
        parts = Criterion({name: term})({"logits": logits}, truth, maps_of(term, truth, 5))
        parts["loss"].backward()
        assert torch.isfinite(parts["loss"])
        assert logits.grad is not None and torch.isfinite(logits.grad).all()

    def test_under_autocast_it_is_computed_in_float32(self, name: str, keys: dict[str, Any], pair: Pair) -> None:
        logits, truth = pair
        term = catalog.settings(name).model_validate(keys)
        coarse, maps = logits.bfloat16(), maps_of(term, truth, 4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = Criterion({name: term})({"logits": coarse}, truth, maps)["loss"]
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(loss(name, coarse.double(), truth, **keys).item(), rel=1e-5, abs=1e-6)

    def test_class_weights_of_one_change_nothing_and_of_zero_leave_a_class_out(self, name: str, keys: dict[str, Any], pair: Pair) -> None:
        logits, truth = pair
        if not issubclass(catalog.settings(name), ClassWeightedLoss):
            assert "class_weights" not in catalog.settings(name).model_fields
            return
        plain = loss(name, logits, truth, **keys).item()
        assert loss(name, logits, truth, torch.ones(4), **keys).item() == pytest.approx(plain, rel=1e-6)
        assert loss(name, logits, truth, torch.tensor([0.0, 1.0, 1.0, 5.0]), **keys).item() != pytest.approx(plain, rel=1e-3)
        if "border" not in keys:
            assert loss(name, logits, truth, torch.zeros(4), **keys).item() == 0.0


TWO_BY_TWO = (torch.tensor([[[[0.8, 0.6], [0.3, 0.5]], [[0.2, 0.4], [0.7, 0.5]]]]).log(), torch.tensor([[[0, 1], [1, IGNORE]]]))
"""Three pixels that count: of class 0 with p = 0.8, of class 1 with p = 0.4 and 0.7. Logits whose softmax these probabilities are."""


@pytest.mark.parametrize(
    ("name", "keys", "expected"),
    [
        ("cross_entropy", {}, -(math.log(0.8) + math.log(0.4) + math.log(0.7)) / 3),
        # Half of the truth is spread over both classes: 3/4 for the true one, 1/4 for the other.
        (
            "cross_entropy",
            {"label_smoothing": 0.5},
            -sum(0.75 * math.log(p) + 0.25 * math.log(1 - p) for p in (0.8, 0.4, 0.7)) / 3,
        ),
        ("focal", {"gamma": 2.0}, -(0.2**2 * math.log(0.8) + 0.6**2 * math.log(0.4) + 0.3**2 * math.log(0.7)) / 3),
        ("ohem", {"keep": 0.3}, -math.log(0.4)),
        ("ohem", {"keep": 0.5}, -(math.log(0.4) + math.log(0.7)) / 2),
        ("ohem", {"keep": 0.1, "threshold": 0.75}, -(math.log(0.4) + math.log(0.7)) / 2),
        # Σ p g: 0.8 and 1.1; Σ p: 1.7 and 1.3; Σ g: 1 and 2; Σ p²: 1.09 and 0.69.
        ("dice", {"epsilon": 1e-9}, 1 - (1.6 / 2.7 + 2.2 / 3.3) / 2),
        ("dice", {"epsilon": 1.0}, 1 - (2.6 / 3.7 + 3.2 / 4.3) / 2),
        ("dice", {"epsilon": 1e-9, "squared": True}, 1 - (1.6 / 2.09 + 2.2 / 2.69) / 2),
        ("jaccard", {"epsilon": 1e-9}, 1 - (0.8 / 1.9 + 1.1 / 2.2) / 2),
        ("jaccard", {"epsilon": 1e-9, "log": True}, 1 - (math.log(0.8 / 1.9) + math.log(1.1 / 2.2)) / 2),
        # Found wrongly: 0.9 and 0.2; missed: 0.2 and 0.9.
        ("tversky", {"epsilon": 1e-9, "alpha": 0.25, "beta": 2.0}, 1 - (0.8 / (0.8 + 0.225 + 0.4) + 1.1 / (1.1 + 0.05 + 1.8)) / 2),
        # Class 0: errors 0.6 (not of it), 0.3 (not of it), 0.2 (of it) → Jaccard losses of the first one, two, three: 1/2, 2/3, 1; their growth weighs.
        # Class 1: errors 0.6 (of it), 0.3 (of it), 0.2 (not of it) → 1/2, 1, 1.
        ("lovasz", {}, ((0.6 / 2 + 0.3 / 6 + 0.2 / 3) + (0.6 / 2 + 0.3 / 2)) / 2),
    ],
)
def test_values_computed_by_hand(name: str, keys: dict[str, Any], expected: float) -> None:
    logits, truth = TWO_BY_TWO
    assert loss(name, logits, truth, **keys).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "keys", "expected"),
    [
        ("binary_cross_entropy", {}, -(math.log(0.8) + math.log(0.3) + math.log(0.9) + math.log(0.6)) / 4),
        ("binary_cross_entropy", {"positive_weight": 5.0}, -(5 * math.log(0.8) + math.log(0.3) + math.log(0.9) + 5 * math.log(0.6)) / 4),
        # Each class has one of the two pixels: β = 1/2 for both.
        ("binary_cross_entropy", {"positive_weight": "balanced"}, -0.5 * (math.log(0.8) + math.log(0.3) + math.log(0.9) + math.log(0.6)) / 4),
        (
            "binary_focal",
            {"alpha": 0.3, "gamma": 2.0},
            -(0.3 * 0.2**2 * math.log(0.8) + 0.7 * 0.7**2 * math.log(0.3) + 0.7 * 0.1**2 * math.log(0.9) + 0.3 * 0.4**2 * math.log(0.6)) / 4,
        ),
    ],
)
def test_values_computed_by_hand_of_each_class_against_the_rest(name: str, keys: dict[str, Any], expected: float) -> None:
    """Two pixels that count and one that does not: of class 0 with p = (0.8, 0.7), of class 1 with p = (0.1, 0.6)."""
    probabilities = torch.tensor([[[[0.8, 0.1, 0.5]], [[0.7, 0.6, 0.5]]]])
    assert loss(name, probabilities.logit(), torch.tensor([[[0, 1, IGNORE]]]), **keys).item() == pytest.approx(expected, rel=1e-5)


BORDER = torch.tensor([[[0.5, 0.0], [0.25, 1.0]]])
"""Closeness at the pixels of TWO_BY_TWO: with w0 = 4 they weigh 3, 1 and 2, the ignored one nothing."""


@pytest.mark.parametrize(
    ("name", "keys", "expected"),
    [
        ("cross_entropy", {}, -(3 * math.log(0.8) + math.log(0.4) + 2 * math.log(0.7)) / 6),
        (
            "cross_entropy",
            {"label_smoothing": 0.5},
            -sum(w * (0.75 * math.log(p) + 0.25 * math.log(1 - p)) for w, p in ((3, 0.8), (1, 0.4), (2, 0.7))) / 6,
        ),
        ("focal", {"gamma": 2.0}, -(3 * 0.2**2 * math.log(0.8) + 0.6**2 * math.log(0.4) + 2 * 0.3**2 * math.log(0.7)) / 6),
        ("ohem", {"keep": 0.5}, -(math.log(0.4) + 2 * math.log(0.7)) / 3),
    ],
)
def test_borders_weigh_as_computed_by_hand(name: str, keys: dict[str, Any], expected: float) -> None:
    logits, truth = TWO_BY_TWO
    term = catalog.settings(name).model_validate(keys | {"border": {"w0": 4.0}})
    assert term.compute(logits, truth, None, BORDER).item() == pytest.approx(expected, rel=1e-5)


def test_class_weights_and_borders_add_up() -> None:
    """Weights 2 + 2, 0.5 + 0 and 0.5 + 1."""
    logits, truth = TWO_BY_TWO
    term = catalog.settings("cross_entropy").model_validate({"border": {"w0": 4.0}})
    expected = -(4 * math.log(0.8) + 0.5 * math.log(0.4) + 1.5 * math.log(0.7)) / 6
    assert term.compute(logits, truth, torch.tensor([2.0, 0.5]), BORDER).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("name", "keys"), [("binary_cross_entropy", {}), ("binary_focal", {"alpha": 0.5, "gamma": 0.0})])
def test_borders_weigh_every_class_of_a_pixel(name: str, keys: dict[str, Any]) -> None:
    """As above two pixels, one with closeness 0.5: both of its classes weigh 3, those of the other 1."""
    probabilities = torch.tensor([[[[0.8, 0.1, 0.5]], [[0.7, 0.6, 0.5]]]])
    term = catalog.settings(name).model_validate(keys | {"border": {"w0": 4.0}})
    expected = -(3 * (math.log(0.8) + math.log(0.3)) + math.log(0.9) + math.log(0.6)) / 8 * (0.5 if keys else 1)
    found = term.compute(probabilities.logit(), torch.tensor([[[0, 1, IGNORE]]]), None, torch.tensor([[[0.5, 0.0, 1.0]]]))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_boundary_loss_computed_by_hand() -> None:
    """One row of five pixels, the second and third of class 1, the last ignored.

    Signed distances of class 1: 1, 0, 0, 1 (its two pixels are both its boundary); of class 0, which is at both ends: 0, 1, 1, 0; class 2 is not there.
    """
    truth = torch.tensor([[[0, 1, 1, 0, IGNORE]]])
    p = torch.tensor([[0.7, 0.2, 0.1, 0.6, 0.1], [0.2, 0.5, 0.8, 0.3, 0.1], [0.1, 0.3, 0.1, 0.1, 0.8]])
    expected = (0.2 + 0.3 + 0.2 + 0.1) / (4 * 3)
    assert loss("boundary", p.log()[None, :, None], truth).item() == pytest.approx(expected, rel=1e-5)


def test_the_boundary_loss_gains_inside_and_costs_outside_by_distance() -> None:
    truth = torch.zeros(1, 1, 9, dtype=torch.long)
    truth[..., 2:7] = 1  # signed distances of class 1: 2, 1, 0, -1, -2, -1, 0, 1, 2; of class 0: -1, 0, 1, 2, 3, 2, 1, 0, -1
    certain = 100.0 * F.one_hot(truth, 2).permute(0, 3, 1, 2)
    assert loss("boundary", certain, truth).item() == pytest.approx((-4 - 2) / 18, rel=1e-5)
    assert loss("boundary", -certain, truth).item() == pytest.approx((6 + 9) / 18, rel=1e-5)
    alone = torch.zeros(1, 3, 3, dtype=torch.long)
    assert loss("boundary", torch.randn(1, 2, 3, 3), alone).item() == 0.0, "without a boundary there is nothing to say"


def test_the_balance_is_the_share_of_the_background() -> None:
    """Of four pixels one is of class 1: β = 3/4 for it, 1/4 for class 0; a class that is nowhere asks for nothing."""
    truth = torch.tensor([[[0, 0, 0, 1]]])
    zeros = torch.zeros(1, 3, 1, 4)
    own = [3 * 0.25 + 1 * 0.75, 1 * 0.75 + 3 * 0.25, 0.0]
    assert loss("binary_cross_entropy", zeros, truth, positive_weight="balanced").item() == pytest.approx(math.log(2) * sum(own) / 12, rel=1e-6)


def test_without_focus_focal_is_weighted_cross_entropy(pair: Pair) -> None:
    logits, truth = pair
    weights = torch.tensor([0.2, 1.0, 3.0, 0.5])
    for given in (None, weights):
        assert loss("focal", logits, truth, given, gamma=0.0).item() == pytest.approx(loss("cross_entropy", logits, truth, given).item(), rel=1e-6)
        assert loss("ohem", logits, truth, given, keep=1.0).item() == pytest.approx(loss("cross_entropy", logits, truth, given).item(), rel=1e-6)


def test_smoothed_and_weighted_cross_entropy_is_torchs(pair: Pair) -> None:
    logits, truth = pair
    weights = torch.tensor([0.2, 1.0, 3.0, 0.5])
    expected = F.cross_entropy(logits, truth, weight=weights, ignore_index=IGNORE, label_smoothing=0.2)
    assert loss("cross_entropy", logits, truth, weights, label_smoothing=0.2).item() == pytest.approx(expected.item(), rel=1e-6)


def test_tversky_has_dice_and_jaccard_within_it(pair: Pair) -> None:
    logits, truth = pair
    halves = loss("tversky", logits, truth, alpha=0.5, beta=0.5, epsilon=0.5)
    assert halves.item() == pytest.approx(loss("dice", logits, truth, epsilon=1.0).item(), rel=1e-6)
    ones = loss("tversky", logits, truth, alpha=1.0, beta=1.0, epsilon=2.0)
    assert ones.item() == pytest.approx(loss("jaccard", logits, truth, epsilon=2.0).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "keys", "other"),
    [
        ("jaccard", {"epsilon": 1e-6}, smp.losses.JaccardLoss("multiclass", ignore_index=IGNORE)),
        ("dice", {"epsilon": 1e-6}, smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)),
        ("tversky", {"epsilon": 1e-6, "alpha": 0.3, "beta": 0.7}, smp.losses.TverskyLoss("multiclass", ignore_index=IGNORE, alpha=0.3, beta=0.7)),
        ("lovasz", {}, smp.losses.LovaszLoss("multiclass", ignore_index=IGNORE)),
        ("binary_focal", {"alpha": 0.4, "gamma": 1.5}, smp.losses.FocalLoss("multiclass", ignore_index=IGNORE, alpha=0.4, gamma=1.5)),
        ("binary_focal", {"alpha": 0.5, "gamma": 0.0}, lambda logits, truth: 0.5 * loss("binary_cross_entropy", logits, truth)),
    ],
    ids=["jaccard", "dice", "tversky", "lovasz", "binary_focal", "binary_cross_entropy"],
)
def test_an_independent_implementation_says_the_same(pair: Pair, name: str, keys: dict[str, Any], other: Any) -> None:
    """segmentation_models_pytorch's, where it has the loss; all four classes are in the batch."""
    logits, truth = pair
    assert loss(name, logits, truth, **keys).item() == pytest.approx(other(logits, truth).item(), rel=1e-5)


def test_the_lovasz_loss_of_certain_predictions_is_the_jaccard_loss() -> None:
    """Class 0: 2 of 3 right, 1 of class 1 taken for it: 2/4; class 1: 3 of 5."""
    truth = torch.tensor([[[0, 0, 0, 1, 1, 1, 1]]])
    predicted = torch.tensor([[[0, 0, 1, 0, 1, 1, 1]]])
    logits = 100.0 * F.one_hot(predicted, 2).permute(0, 3, 1, 2)
    assert loss("lovasz", logits, truth).item() == pytest.approx(1 - (2 / 4 + 3 / 5) / 2, rel=1e-5)


def test_cross_entropy_is_the_mean_over_scored_pixels(pair: Pair) -> None:
    logits, truth = pair
    scored = truth != IGNORE
    expected = -logits.log_softmax(1).permute(0, 2, 3, 1)[scored].gather(1, truth[scored, None]).mean()
    assert loss("cross_entropy", logits, truth) == pytest.approx(expected.item(), rel=1e-6)
    assert loss("cross_entropy", logits, truth) == pytest.approx(F.cross_entropy(logits, truth, ignore_index=IGNORE).item(), rel=1e-6)


def test_weighted_cross_entropy_is_torchs_weighted_mean(pair: Pair) -> None:
    logits, truth = pair
    weights = torch.tensor([0.2, 1.0, 3.0, 0.5])
    expected = F.cross_entropy(logits, truth, weight=weights, ignore_index=IGNORE)
    assert loss("cross_entropy", logits, truth, weights) == pytest.approx(expected.item(), rel=1e-6)


def test_dice_by_its_definition(pair: Pair) -> None:
    logits, truth = pair
    p, scored, epsilon = logits.softmax(1), truth != IGNORE, 0.5
    terms = []
    for c in range(4):
        g = ((truth == c) & scored).float()
        pc = p[:, c] * scored
        terms.append(1 - (2 * (pc * g).sum() + epsilon) / (pc.sum() + g.sum() + epsilon))
    assert loss("dice", logits, truth, epsilon=epsilon) == pytest.approx(torch.stack(terms).mean().item(), rel=1e-6)


def test_classes_absent_from_the_batch_take_no_part() -> None:
    truth = torch.zeros(1, 4, 4, dtype=torch.long)
    perfect = torch.zeros(1, 3, 4, 4)
    perfect[:, 0] = 50.0
    assert loss("dice", perfect, truth).item() == pytest.approx(0.0, abs=1e-6)


class TestClassWeights:
    """80 pixels of class 0 in images of 100, 20 of class 1 in an image of 50, none of class 2."""

    PIXELS, IMAGE_PIXELS = (80, 20, 0), (100, 50, 0)

    def test_none(self) -> None:
        assert class_weights("none", self.PIXELS, self.IMAGE_PIXELS) is None

    def test_balanced(self) -> None:
        assert class_weights("balanced", self.PIXELS, self.IMAGE_PIXELS) == (100 / (2 * 80), 100 / (2 * 20), 1.0)

    def test_median_frequency(self) -> None:
        frequencies = (80 / 100, 20 / 50)
        median = (0.8 + 0.4) / 2
        assert class_weights("median_frequency", self.PIXELS, self.IMAGE_PIXELS) == pytest.approx((median / frequencies[0], median / frequencies[1], 1.0))

    def test_enet(self) -> None:
        assert class_weights("enet", self.PIXELS, self.IMAGE_PIXELS) == pytest.approx((1 / math.log(1.82), 1 / math.log(1.22), 1.0), abs=1e-6)

    def test_given(self) -> None:
        assert class_weights([1.0, 2.0, 0.0], self.PIXELS, self.IMAGE_PIXELS) == (1.0, 2.0, 0.0)
        with pytest.raises(ParametersError, match="has 2 numbers, and the data has 3 classes"):
            class_weights([1.0, 2.0], self.PIXELS, self.IMAGE_PIXELS)


class TestCriterion:
    def test_it_is_the_weighted_sum(self, pair: Pair) -> None:
        logits, truth = pair
        terms = Loss.of(cross_entropy=0.5, dice=2.0).terms()
        parts = Criterion(terms)({"logits": logits}, truth)
        assert parts["loss"].item() == pytest.approx(0.5 * parts["cross_entropy"].item() + 2.0 * parts["dice"].item(), rel=1e-6)

    def test_a_weight_of_zero_computes_nothing(self, pair: Pair) -> None:
        logits, truth = pair
        assert set(Criterion(Loss.of(cross_entropy=1.0, dice=0.0).terms())({"logits": logits}, truth)) == {"cross_entropy", "loss"}

    def test_auxiliary_outputs_are_added_with_their_share(self, pair: Pair) -> None:
        logits, truth = pair
        criterion = Criterion(Loss.of(cross_entropy=1.0).terms(), output_weights={"logits": 1.0, "aux": 0.4})
        parts = criterion({"logits": logits, "aux": 2 * logits}, truth)
        assert parts["aux"].item() == pytest.approx(loss("cross_entropy", 2 * logits, truth).item(), rel=1e-6)
        assert parts["loss"].item() == pytest.approx(parts["cross_entropy"].item() + 0.4 * parts["aux"].item(), rel=1e-6)

    def test_class_weights_belong_to_their_loss_and_move_with_the_module(self, pair: Pair) -> None:
        logits, truth = pair
        criterion = Criterion(Loss.of(cross_entropy=1.0, dice=1.0).terms(), class_weights={"cross_entropy": (1.0, 2.0, 3.0, 4.0)})
        parts = criterion({"logits": logits}, truth)
        assert parts["cross_entropy"].item() == pytest.approx(loss("cross_entropy", logits, truth, torch.tensor([1.0, 2.0, 3.0, 4.0])).item())
        assert parts["dice"].item() == pytest.approx(loss("dice", logits, truth).item())
        assert criterion.to(torch.float64).class_weights_cross_entropy.dtype == torch.float64
        assert criterion.state_dict() == {}, "the plan is their home"
