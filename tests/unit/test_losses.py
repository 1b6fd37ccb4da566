"""Losses against their definitions and torch's own, with ignored pixels."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
from torch.nn import functional as F

from segline.data.store import IGNORE
from segline.losses.combined import combined
from segline.losses.cross_entropy import cross_entropy
from segline.losses.dice import EPSILON, dice


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 8, 9, generator=generator)
    truth = torch.randint(0, 4, (2, 8, 9), generator=generator)
    truth[0, :3] = IGNORE
    return logits, truth


def test_cross_entropy_is_the_mean_over_scored_pixels(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, truth = pair
    scored = truth != IGNORE
    expected = -logits.log_softmax(1).permute(0, 2, 3, 1)[scored].gather(1, truth[scored, None]).mean()
    assert cross_entropy(logits, truth) == pytest.approx(expected.item(), rel=1e-6)
    assert cross_entropy(logits, truth) == pytest.approx(F.cross_entropy(logits, truth, ignore_index=IGNORE).item(), rel=1e-6)


def test_dice_by_its_definition(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, truth = pair
    p, scored = logits.softmax(1), truth != IGNORE
    terms = []
    for c in range(4):
        g = ((truth == c) & scored).float()
        pc = p[:, c] * scored
        terms.append(1 - (2 * (pc * g).sum() + EPSILON) / (pc.sum() + g.sum() + EPSILON))
    assert dice(logits, truth) == pytest.approx(torch.stack(terms).mean().item(), rel=1e-6)


def test_dice_agrees_with_an_independent_library() -> None:
    logits = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    truth = torch.randint(0, 3, (2, 16, 16), generator=torch.Generator().manual_seed(1))
    other = smp.losses.DiceLoss("multiclass", smooth=0.0)(logits, truth)
    assert dice(logits, truth) == pytest.approx(other.item(), abs=EPSILON / 100)


def test_classes_absent_from_the_batch_take_no_part() -> None:
    truth = torch.zeros(1, 4, 4, dtype=torch.long)
    perfect = torch.zeros(1, 3, 4, 4)
    perfect[:, 0] = 50.0
    assert dice(perfect, truth).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("loss", [cross_entropy, dice])
def test_a_batch_without_truth_gives_zero_and_a_gradient(loss: object) -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((1, 4, 4), IGNORE))  # type: ignore[operator]
    value.backward()
    assert value.item() == 0.0
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_combined_loss_is_the_weighted_sum(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    parts = combined(*pair, {"cross_entropy": 0.5, "dice": 2.0})
    assert parts["loss"].item() == pytest.approx(0.5 * parts["cross_entropy"].item() + 2.0 * parts["dice"].item(), rel=1e-6)
    assert set(combined(*pair, {"cross_entropy": 1.0, "dice": 0.0})) == {"cross_entropy", "loss"}
