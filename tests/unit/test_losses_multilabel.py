"""Losses of truth in which a pixel may be of several classes: definitions, values computed by hand, what is ignored, absent classes, gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch

from segline.data.store import IGNORE
from segline.losses import catalog as losses
from segline.losses.base import ClassWeightedLoss
from segline.losses.criterion import Criterion
from segline.losses.multilabel import catalog

Pair = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def pair() -> Pair:
    """Classes that overlap; of the first image some rows are ignored for all classes, and of the second a column for class 2."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 8, 9, generator=generator)
    truth = torch.randint(0, 2, (2, 4, 8, 9), generator=generator, dtype=torch.uint8)
    truth[0, :, :3] = IGNORE
    truth[1, 2, :, 5] = IGNORE
    return logits, truth


def loss(name: str, logits: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor | None = None, **keys: object) -> torch.Tensor:
    return catalog.of(name, losses.settings(name).model_validate(keys)).compute(logits, truth, weights)


VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "binary_cross_entropy": ({"positive_weight": 3.0}, {"positive_weight": "balanced"}),
    "binary_focal": ({"alpha": 0.6, "gamma": 1.0},),
    "dice": ({"squared": True},),
    "jaccard": ({"log": True},),
    "tversky": ({"alpha": 1.0, "beta": 0.5},),
}

CASES = [pytest.param(name, keys, id=f"{name}-{keys}" if keys else name) for name in catalog.LOSSES for keys in ({}, *VARIANTS.get(name, ()))]


@pytest.mark.parametrize(("name", "keys"), CASES)
class TestEveryLoss:
    """What holds for each loss of the catalogue."""

    def test_its_keys_are_those_of_the_loss_and_their_values_are_kept(self, name: str, keys: dict[str, Any]) -> None:
        given = losses.settings(name).model_validate(keys | {"weight": 0.25})
        assert catalog.of(name, given).model_dump() == given.model_dump()
        assert set(type(catalog.of(name, given)).model_fields) == set(losses.settings(name).model_fields)

    def test_it_falls_when_the_prediction_gets_better(self, name: str, keys: dict[str, Any], pair: Pair) -> None:
        _, truth = pair
        right = (truth == 1).float()
        values = [loss(name, confidence * (2 * right - 1), truth, **keys).item() for confidence in (-0.5, 0.0, 0.4, 0.9)]
        assert values == sorted(values, reverse=True) and len(set(values)) == 4

    def test_what_is_ignored_counts_for_nothing(self, name: str, keys: dict[str, Any], pair: Pair) -> None:
        logits, truth = pair
        other = logits.clone()
        other[truth == IGNORE] += 5 * torch.randn(int((truth == IGNORE).sum()))
        assert loss(name, other, truth, **keys).item() == pytest.approx(loss(name, logits, truth, **keys).item(), rel=1e-6)
        asked = logits.clone().requires_grad_()
        loss(name, asked, truth, **keys).backward()  # type: ignore[no-untyped-call]
        assert asked.grad is not None and not asked.grad[truth == IGNORE].any()

    def test_a_batch_without_truth_gives_zero_and_a_gradient(self, name: str, keys: dict[str, Any]) -> None:
        logits = torch.randn(1, 3, 4, 4, requires_grad=True)
        value = loss(name, logits, torch.full((1, 3, 4, 4), IGNORE, dtype=torch.uint8), **keys)
        value.backward()  # type: ignore[no-untyped-call]
        assert value.item() == 0.0
        assert logits.grad is not None and torch.isfinite(logits.grad).all()

    def test_its_gradient_is_the_one_of_finite_differences(self, name: str, keys: dict[str, Any], pair: Pair) -> None:
        logits, truth = pair
        asked = logits[:, :, :5, :6].double().requires_grad_()
        assert torch.autograd.gradcheck(lambda values: loss(name, values, truth[:, :, :5, :6], **keys), (asked,))

    @pytest.mark.parametrize("size", [30.0, 6e4])
    def test_certainty_right_or_wrong_breaks_nothing(self, name: str, keys: dict[str, Any], pair: Pair, size: float) -> None:
        _, truth = pair
        truth[:, 3] = 0
        logits = (size * torch.where(torch.rand(truth.shape, generator=torch.Generator().manual_seed(1)) < 0.5, -1.0, 1.0)).half().requires_grad_()
        parts = Criterion({name: catalog.of(name, losses.settings(name).model_validate(keys))})({"logits": logits}, truth)
        parts["loss"].backward()
        assert torch.isfinite(parts["loss"])
        assert logits.grad is not None and torch.isfinite(logits.grad).all()

    def test_class_weights_of_one_change_nothing_and_of_zero_leave_a_class_out(self, name: str, keys: dict[str, Any], pair: Pair) -> None:
        logits, truth = pair
        if not issubclass(losses.settings(name), ClassWeightedLoss):
            return
        plain = loss(name, logits, truth, **keys).item()
        assert loss(name, logits, truth, torch.ones(4), **keys).item() == pytest.approx(plain, rel=1e-6)
        without = loss(name, logits, truth, torch.tensor([0.0, 1.0, 1.0, 1.0]), **keys).item()
        assert without == pytest.approx(loss(name, logits[:, 1:], truth[:, 1:], **keys).item(), rel=1e-6)


PROBABILITIES = torch.tensor([[[[0.8, 0.1, 0.5]], [[0.7, 0.6, 0.2]], [[0.9, 0.3, 0.4]]]])
TRUTH = torch.tensor([[[[1, 0, IGNORE]], [[1, 1, 0]], [[0, 0, 0]]]], dtype=torch.uint8)
"""The first pixel is of both classes 0 and 1, the second of class 1, the third of none and ignored for class 0; nothing is of class 2."""


@pytest.mark.parametrize(
    ("name", "keys", "expected"),
    [
        ("binary_cross_entropy", {}, -sum(map(math.log, (0.8, 0.9, 0.7, 0.6, 0.8, 0.1, 0.7, 0.6))) / 8),
        ("binary_cross_entropy", {"positive_weight": 5.0}, -(5 * sum(map(math.log, (0.8, 0.7, 0.6))) + sum(map(math.log, (0.9, 0.8, 0.1, 0.7, 0.6)))) / 8),
        # Shares of the scored pixels: 1/2, 2/3 and 0.
        (
            "binary_cross_entropy",
            {"positive_weight": "balanced"},
            -((math.log(0.8) + math.log(0.9)) / 2 + (math.log(0.7) + math.log(0.6)) / 3 + 2 / 3 * math.log(0.8)) / 8,
        ),
        (
            "binary_focal",
            {"alpha": 0.3, "gamma": 1.0},
            -(0.3 * sum((1 - p) * math.log(p) for p in (0.8, 0.7, 0.6)) + 0.7 * sum((1 - q) * math.log(q) for q in (0.9, 0.8, 0.1, 0.7, 0.6))) / 8,
        ),
        # Σ p g: 0.8 and 1.3; Σ p: 0.9 and 1.5; Σ g: 1 and 2; Σ p²: 0.65 and 0.89. Class 2 is not there.
        ("dice", {"epsilon": 1e-9}, 1 - (1.6 / 1.9 + 2.6 / 3.5) / 2),
        ("dice", {"epsilon": 1.0}, 1 - (2.6 / 2.9 + 3.6 / 4.5) / 2),
        ("dice", {"epsilon": 1e-9, "squared": True}, 1 - (1.6 / 1.65 + 2.6 / 2.89) / 2),
        ("jaccard", {"epsilon": 1e-9}, 1 - (0.8 / 1.1 + 1.3 / 2.2) / 2),
        ("jaccard", {"epsilon": 1e-9, "log": True}, 1 - (math.log(0.8 / 1.1) + math.log(1.3 / 2.2)) / 2),
        ("tversky", {"epsilon": 1e-9, "alpha": 0.25, "beta": 2.0}, 1 - (0.8 / (0.8 + 0.025 + 0.4) + 1.3 / (1.3 + 0.05 + 1.4)) / 2),
    ],
)
def test_values_computed_by_hand(name: str, keys: dict[str, Any], expected: float) -> None:
    assert loss(name, PROBABILITIES.logit(), TRUTH, **keys).item() == pytest.approx(expected, rel=1e-5)


def test_the_hinge_of_lovasz_computed_by_hand() -> None:
    """Class 0: errors 0.5 (of it), 1.5 (not of it) → sorted 1.5, 0.5, with Jaccard losses 1/2, 1. Class 1: 2 (of it), 0 (not), 0.25 (of it) → 1/2, 1, 1.

    Class 2 is not there.
    """
    logits = torch.tensor([[[[0.5, 0.5, 7.0]], [[-1.0, 0.75, -3.0]], [[4.0, 4.0, 4.0]]]])
    expected = ((1.5 / 2 + 0.5 / 2) + (2 / 2 + 0.25 / 2)) / 2
    assert loss("lovasz", logits, TRUTH).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "keys", "theirs"),
    [
        ("dice", {"epsilon": 1e-7}, smp.losses.DiceLoss("multilabel")),
        ("jaccard", {"epsilon": 1e-7}, smp.losses.JaccardLoss("multilabel")),
        ("tversky", {"epsilon": 1e-7, "alpha": 0.3, "beta": 0.6}, smp.losses.TverskyLoss("multilabel", alpha=0.3, beta=0.6)),
        ("binary_cross_entropy", {"positive_weight": 2.5}, torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.5))),
    ],
)
def test_they_are_those_of_another_library(name: str, keys: dict[str, Any], theirs: torch.nn.Module, pair: Pair) -> None:
    logits, truth = pair
    g = (truth == 1).to(torch.uint8)
    assert loss(name, logits, g, **keys).item() == pytest.approx(theirs(logits, g.float()).item(), rel=1e-5)
