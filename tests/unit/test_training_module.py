"""A loss that is no finite number: in fp16 the gradient scaler may leave out single steps; otherwise, and when it stays so, it is an error."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from segline.tasks import catalog
from segline.training import module
from segline.training.module import SKIPPED_AT_MOST, SegmentationModule
from segline.training.settings import Train
from segline_runtime.specification import ClassInfo, Geometry, Specification

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own: of loaders, of what is not validated, of torch


class Overflowing:
    """Losses of a linear network that are infinite in some steps."""

    def __init__(self, steps: set[int]) -> None:
        self._steps = steps
        self.step = -1

    def to_device(self, batch: Any, _device: torch.device) -> Any:
        return batch

    def losses(self, network: nn.Module, _criterion: Any, batch: Any, _specification: Any) -> dict[str, Tensor]:
        self.step += 1
        loss = network(batch.images).float().mean()
        return {"loss": loss * float("inf") if self.step in self._steps else loss}


def made(network: nn.Module, infinite: set[int], settings: Train) -> SegmentationModule:
    learning: Any = Overflowing(infinite)
    classes = (ClassInfo(0, "background", (0, 0, 0), False), ClassInfo(1, "thing", (9, 9, 9), True))
    specification = Specification("semantic", "linear", "tiny", classes, Geometry("native", None), (0.0,) * 3, (1.0,) * 3)
    return SegmentationModule(network, None, task=catalog.get("semantic"), learning=learning, specification=specification, settings=settings)


def trained(infinite: set[int], precision: str, steps: int = 30) -> tuple[nn.Module, float]:
    """The network after one epoch, and the mean loss that was told."""
    torch.manual_seed(0)
    network = nn.Linear(2, 1)
    learner = made(network, infinite, Train(epochs=1, lr=0.01, schedule="constant", warmup=0))
    plugins = [MixedPrecision("16-mixed", "cpu")] if precision == "fp16" else []
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, plugins=plugins, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    batches: Any = [SimpleNamespace(images=torch.ones(4, 2)) for _ in range(steps)]
    trainer.fit(learner, DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch))
    return network, float(trainer.callback_metrics["train_loss"])


@pytest.mark.parametrize("infinite", [{0}, {0, 1, 2}, {0, 7, 8, 29}, set(range(SKIPPED_AT_MOST))])
def test_in_fp16_single_steps_are_left_out(infinite: set[int]) -> None:
    network, told = trained(infinite, "fp16")
    assert all(torch.isfinite(weight).all() for weight in network.parameters())
    assert torch.isfinite(torch.tensor(told)), "the mean is of the steps that were made"
    torch.manual_seed(0)
    before = nn.Linear(2, 1)
    assert all(not torch.equal(one, other) for one, other in zip(network.parameters(), before.parameters(), strict=True)), "the others were made"


@pytest.mark.parametrize(
    ("infinite", "steps", "sentence"),
    [
        (set(range(30)), 30, f"the loss is -?inf at step .*, as in the {SKIPPED_AT_MOST} steps before it"),
        (set(range(3)), 3, "the loss was no finite number in any step of epoch 1"),
    ],
)
def test_in_fp16_a_loss_that_stays_infinite_is_an_error(infinite: set[int], steps: int, sentence: str) -> None:
    with pytest.raises(FloatingPointError, match=sentence):
        trained(infinite, "fp16", steps)


def test_in_fp32_the_first_infinite_loss_is_an_error() -> None:
    with pytest.raises(FloatingPointError, match=r"the loss is -?inf at step 4$"):
        trained({4}, "fp32")


@pytest.mark.parametrize(("infinite", "step", "looked_at"), [({4}, 4, 7), ({16, 18}, 16, 21), ({29}, 29, 30)])
def test_a_loss_that_is_looked_at_later_is_told_with_its_own_step(infinite: set[int], step: int, looked_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where looking at each step's loss would let it wait: it is looked at every seventh step, and at the end of the epoch."""
    monkeypatch.setattr(module, "LOOK_EVERY", 7)
    monkeypatch.setattr(SegmentationModule, "device", property(lambda _self: torch.device("meta")))
    made = []
    whole_step = SegmentationModule.training_step
    monkeypatch.setattr(SegmentationModule, "training_step", lambda self, *batch: made.append(None) or whole_step(self, *batch))
    monkeypatch.setattr(SegmentationModule, "log_dict", lambda *_, **__: None)  # Lightning moves what it logs to the device
    monkeypatch.setattr(SegmentationModule, "log", lambda *_, **__: None)
    with pytest.raises(FloatingPointError, match=rf"the loss is -?(inf|nan) at step {step}$"):
        trained(infinite, "fp32")
    assert len(made) == looked_at


@pytest.mark.parametrize(("given", "norm"), [(0.5, 0.5), (100.0, 4.0), (None, 4.0)])
def test_gradients_of_the_one_kernel_are_clipped_by_their_norm(given: float | None, norm: float) -> None:
    network = nn.Linear(3, 4)
    for weights in network.parameters():
        weights.grad = torch.ones_like(weights)  # 16 in all, so their norm is 4
    moving = torch.optim.AdamW(network.parameters(), fused=True)
    made(network, set(), Train()).configure_gradient_clipping(moving, given)
    assert float(nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])) == pytest.approx(norm)
