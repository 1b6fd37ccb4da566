"""The best weights and the history, as they travel through a training and its checkpoint."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from segline.training.callbacks import AveragedWeights, BestWeights, History, SeedPerEpoch
from segline.training.silence import EveryMinute


def trainer(epoch: int, *, rate: float = 0.1, **metrics: float) -> Any:
    """As much of Lightning's trainer as a callback asks for."""
    return SimpleNamespace(
        sanity_checking=False,
        current_epoch=epoch,
        max_epochs=5,
        global_rank=0,
        callback_metrics={name: torch.tensor(value) for name, value in metrics.items()},
        optimizers=[SimpleNamespace(param_groups=[{"lr": rate}])],
    )


def weighing(value: float) -> Any:
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(value)
    return SimpleNamespace(network=network)


def validate(best: BestWeights, epoch: int, weight: float, **metrics: float) -> None:
    module = weighing(weight)
    best.on_validation_epoch_start(trainer(epoch), module)
    module.network.weight.data.fill_(-1.0)  # averaged weights are swapped out again before the score is known
    best.on_validation_end(trainer(epoch, **metrics), module)


def kept(best: BestWeights) -> float:
    assert best.weights is not None
    weights: dict[str, Tensor] = best.weights
    return weights["weight"].item()


class TestBestWeights:
    def test_the_last_of_the_best_epochs_is_kept(self) -> None:
        best = BestWeights("val_miou")
        for epoch, (weight, score) in enumerate([(1.0, 0.2), (2.0, 0.6), (3.0, 0.6), (4.0, 0.5)]):
            validate(best, epoch, weight, val_miou=score, val_other=1.0)
        assert (best.score, best.epoch, kept(best)) == (pytest.approx(0.6), 2, 3.0)

    @pytest.mark.parametrize("undefined", [{}, {"val_miou": float("nan")}, {"val_miou": float("-inf")}])
    def test_where_the_metric_is_undefined_the_last_weights_are_kept_until_there_is_one(self, undefined: dict[str, float]) -> None:
        best = BestWeights("val_miou")
        validate(best, 0, 1.0, **undefined)
        validate(best, 1, 2.0, **undefined)
        assert (best.score, best.epoch, kept(best)) == (None, 1, 2.0)
        validate(best, 2, 3.0, val_miou=0.0)
        validate(best, 3, 4.0, **undefined)
        assert (best.score, best.epoch, kept(best)) == (0.0, 2, 3.0)

    def test_they_are_copies(self) -> None:
        best, module = BestWeights("val_miou"), weighing(1.0)
        best.on_validation_epoch_start(trainer(0), module)
        best.on_validation_end(trainer(0, val_miou=0.5), module)
        module.network.weight.data.fill_(9.0)
        assert kept(best) == 1.0

    def test_they_travel_in_the_checkpoint(self) -> None:
        best, resumed = BestWeights("val_miou"), BestWeights("val_miou")
        validate(best, 0, 1.0, val_miou=0.5)
        resumed.load_state_dict(best.state_dict())
        validate(resumed, 1, 2.0, val_miou=0.4)
        assert (resumed.score, resumed.epoch, kept(resumed)) == (0.5, 0, 1.0)
        validate(resumed, 2, 3.0, val_miou=0.6)
        assert (resumed.epoch, kept(resumed)) == (2, 3.0)


class TestHistory:
    def test_a_row_for_each_epoch(self, capsys: pytest.CaptureFixture[str]) -> None:
        told: list[list[dict[str, float]]] = []
        history = History("val_miou", lambda rows: told.append(list(rows)))
        for epoch, metrics in enumerate([{"train_loss": 1.5}, {"train_loss": 0.5, "val_miou": 0.25, "loss": 9.0}]):
            history.on_train_epoch_start(trainer(epoch), weighing(0.0))
            history.on_train_epoch_end(trainer(epoch, rate=0.1 / (epoch + 1), **metrics), weighing(0.0))
        first, second = history.rows
        assert list(first) == ["epoch", "train_loss", "lr", "seconds"]
        assert first | {"seconds": 0} == {"epoch": 1, "train_loss": 1.5, "lr": 0.1, "seconds": 0}
        assert second | {"seconds": 0} == {"epoch": 2, "train_loss": 0.5, "val_miou": 0.25, "lr": 0.05, "seconds": 0}
        assert told == [[first], [first, second]]
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("epoch 1/5  train_loss 1.5000  ")
        assert lines[1].startswith("epoch 2/5  train_loss 0.5000  val_miou 0.2500  ")

    def test_an_epoch_without_validation_does_not_repeat_the_figures_of_the_one_before(self) -> None:
        """Lightning's trainer keeps them in one mapping."""
        history, running = History("val_miou", lambda _: None), trainer(0)
        for epoch in range(3):
            running.current_epoch = epoch
            history.on_train_epoch_start(running, weighing(0.0))
            running.callback_metrics["train_loss"] = torch.tensor(1.0)
            if epoch != 1:
                running.callback_metrics["val_miou"] = torch.tensor(epoch / 4)
            history.on_train_epoch_end(running, weighing(0.0))
        assert [row.get("val_miou") for row in history.rows] == [0.0, None, 0.5]

    def test_it_goes_on_after_an_interruption(self) -> None:
        history, resumed = History("val_miou", lambda _: None), History("val_miou", lambda _: None)
        history.on_train_epoch_start(trainer(0), weighing(0.0))
        history.on_train_epoch_end(trainer(0, train_loss=1.0), weighing(0.0))
        history.seconds = 100.0
        resumed.load_state_dict(history.state_dict())
        resumed.on_train_epoch_start(trainer(1), weighing(0.0))
        resumed.on_train_epoch_end(trainer(1, train_loss=0.5), weighing(0.0))
        assert [row["epoch"] for row in resumed.rows] == [1, 2]
        assert resumed.seconds >= 100


def test_chance_is_a_function_of_seed_and_epoch() -> None:
    def drawn(seed: int, epoch: int) -> float:
        SeedPerEpoch(seed).on_train_epoch_start(trainer(epoch), weighing(0.0))
        return torch.rand(1).item()

    assert drawn(0, 1) == drawn(0, 1)
    assert len({drawn(seed, epoch) for seed in (0, 1) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize("decay", [0.9, 0.999])
def test_averaged_weights_forget_the_untrained_ones(decay: float) -> None:
    """By hand: after n updates the decay is min(decay, (1 + n) / (10 + n)); a fixed decay of 0.999 keeps 90 % of the first weights after 100 steps."""
    averaging, module = AveragedWeights(decay), LightningModule()
    module.weight = nn.Parameter(torch.tensor([0.0], dtype=torch.float64))
    averaging.setup(trainer(0), module, "fit")
    by_hand = None
    for step in range(100):
        module.weight.data.fill_(float(step))
        averaging.on_train_batch_end(SimpleNamespace(global_step=step + 1), module, None, None, step)  # type: ignore[arg-type]
        kept_ = min(decay, (1 + step) / (10 + step))
        by_hand = float(step) if by_hand is None else kept_ * by_hand + (1 - kept_) * step
    assert averaging._average_model is not None
    assert averaging._average_model.module.weight.item() == pytest.approx(by_hand)  # type: ignore[union-attr]
    assert by_hand > 80


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, ["step 1 of 3, loss 0.5000", "step 2 of 3, loss 0.5000", "validation, batch 1 of 2"]), (1000.0, [])])
def test_a_long_epoch_is_not_silent(capsys: pytest.CaptureFixture[str], seconds: float, lines: list[str]) -> None:
    running = SimpleNamespace(current_epoch=1, max_epochs=5, num_training_batches=3, num_val_batches=[2])
    telling: Any = EveryMinute(seconds)
    for step in range(3):
        telling.on_train_batch_end(running, None, {"loss": torch.tensor(0.5)}, None, step)
    for step in range(2):
        telling.on_validation_batch_end(running, None, None, None, step)
    assert capsys.readouterr().out.splitlines() == [f"epoch 2/5, {line}" for line in lines]
