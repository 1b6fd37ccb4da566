"""Losses against their definitions and torch's own, with ignored pixels; class weights; the criterion over named outputs."""

from __future__ import annotations

import math

import pytest
import segmentation_models_pytorch as smp
import torch
from torch.nn import functional as F

from segline.data.store import IGNORE
from segline.errors import ParametersError
from segline.losses import catalog
from segline.losses.class_weights import class_weights
from segline.losses.criterion import Criterion
from segline.losses.settings import Loss

Pair = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def pair() -> Pair:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 8, 9, generator=generator)
    truth = torch.randint(0, 4, (2, 8, 9), generator=generator)
    truth[0, :3] = IGNORE
    return logits, truth


def loss(name: str, logits: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor | None = None, **keys: object) -> torch.Tensor:
    return catalog.settings(name).model_validate(keys).compute(logits, truth, weights)


@pytest.mark.parametrize("name", catalog.LOSSES)
class TestEveryLoss:
    """What holds for each loss of the catalogue."""

    def test_it_falls_when_the_prediction_gets_better(self, name: str, pair: Pair) -> None:
        _, truth = pair
        right = F.one_hot(truth.masked_fill(truth == IGNORE, 0), 4).permute(0, 3, 1, 2).float()
        values = [loss(name, confidence * right, truth).item() for confidence in (0.0, 1.0, 4.0, 12.0)]
        assert values == sorted(values, reverse=True)
        assert len(set(values)) == 4

    def test_ignored_pixels_count_for_nothing(self, name: str, pair: Pair) -> None:
        logits, truth = pair
        other = logits.clone()
        other[0, :, :3] += 5 * torch.randn(4, 3, 9)
        assert loss(name, other, truth).item() == pytest.approx(loss(name, logits, truth).item(), rel=1e-6)

    def test_a_batch_without_truth_gives_zero_and_a_gradient(self, name: str) -> None:
        logits = torch.randn(1, 3, 4, 4, requires_grad=True)
        value = loss(name, logits, torch.full((1, 4, 4), IGNORE))
        value.backward()
        assert value.item() == 0.0
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


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


def test_dice_agrees_with_an_independent_library() -> None:
    logits = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    truth = torch.randint(0, 3, (2, 16, 16), generator=torch.Generator().manual_seed(1))
    other = smp.losses.DiceLoss("multiclass", smooth=0.0)(logits, truth)
    assert loss("dice", logits, truth) == pytest.approx(other.item(), abs=0.01)


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
