"""Learning rates over time and over the network: warm-up, decay, a gentler or later encoder; weight decay for weights alone."""

from __future__ import annotations

import copy
import io
from itertools import pairwise
from typing import Any

import factories
import pytest
import torch
from torch import nn

from segline.models import catalog
from segline.training.adamw import FusedAdamW
from segline.training.optimizer import optimizer, schedule
from segline.training.schedule import factor
from segline.training.settings import Train


@pytest.mark.parametrize("name", ["cosine", "poly"])
def test_the_rate_warms_up_and_decays_to_nothing(name: str) -> None:
    rates = [factor(step, schedule=name, warmup_steps=5, total_steps=50) for step in range(51)]
    assert rates[:6] == sorted(rates[:6])
    assert rates[5] == 1.0
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[50] == pytest.approx(0.0, abs=1e-9)


def test_an_exponential_decay_leaves_a_hundredth() -> None:
    rates = [factor(step, schedule="exponential", warmup_steps=0, total_steps=100) for step in range(101)]
    assert rates[0] == 1.0 and rates[100] == pytest.approx(0.01)
    assert {round(after / before, 9) for before, after in pairwise(rates)} == {round(0.01**0.01, 9)}


@pytest.mark.parametrize("power", [0.5, 0.9, 1.0, 2.0])
def test_poly_has_the_power_that_is_asked_for(power: float) -> None:
    settings = Train(lr=0.1, epochs=2, warmup=0, schedule="poly", poly_power=power)
    moving, _ = made(epochs=2, warmup=0, schedule="poly", poly_power=power)
    assert [step[0] for step in rates(moving, settings, 10)] == pytest.approx([0.1 * (1 - step / 10) ** power for step in range(10)])


def test_without_a_word_poly_is_deeplabs() -> None:
    assert Train().poly_power == 0.9
    assert factor(5, schedule="poly", warmup_steps=0, total_steps=10) == 0.5**0.9


def test_a_constant_rate_stays() -> None:
    assert factor(40, schedule="constant", warmup_steps=0, total_steps=50) == 1.0


class Network(nn.Module):
    """An encoder of 2 weights (and 3 that do not decay), a head of 1 (and 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, bias=False))
        self.head = nn.Conv2d(4, 2, 1)


def made(network: Network | None = None, **changes: Any) -> tuple[torch.optim.Optimizer, Network]:
    network = network or Network()
    return optimizer(network, network.encoder, Train(**{"lr": 0.1, "weight_decay": 0.01, **changes})), network


def names_of(group: dict[str, Any], network: nn.Module) -> set[str]:
    by_id = {id(weight): name for name, weight in network.named_parameters()}
    return {by_id[id(weight)] for weight in group["params"]}


def test_weights_decay_and_biases_and_norms_do_not() -> None:
    moving, network = made()
    decayed, free = moving.param_groups
    assert names_of(decayed, network) == {"encoder.0.weight", "encoder.2.weight", "head.weight"}
    assert names_of(free, network) == {"encoder.0.bias", "encoder.1.weight", "encoder.1.bias", "head.bias"}
    assert [group["weight_decay"] for group in moving.param_groups] == [0.01, 0.0]
    assert [group["lr"] for group in moving.param_groups] == [0.1, 0.1]


def test_an_encoder_has_its_own_rate() -> None:
    moving, network = made(encoder_lr_factor=0.25)
    assert [names_of(group, network) for group in moving.param_groups] == [
        {"encoder.0.weight", "encoder.2.weight"},
        {"encoder.0.bias", "encoder.1.weight", "encoder.1.bias"},
        {"head.weight"},
        {"head.bias"},
    ]
    assert [group["lr"] for group in moving.param_groups] == [0.025, 0.025, 0.1, 0.1]
    assert [group["weight_decay"] for group in moving.param_groups] == [0.01, 0.0, 0.01, 0.0]


@pytest.mark.parametrize("arch", catalog.ARCHITECTURES)
def test_every_trained_weight_of_an_architecture_is_in_one_group(arch: str) -> None:
    network = catalog.build(factories.settings(arch), channels=3, classes=3)
    moving = optimizer(network, network.encoder, Train(encoder_lr_factor=0.5))
    grouped = [id(weight) for group in moving.param_groups for weight in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(weight) for weight in network.parameters() if weight.requires_grad}


def test_weights_that_are_not_trained_are_in_no_group() -> None:
    network = Network()
    network.encoder[0].requires_grad_(False)
    moving, _ = made(network)
    assert not {"encoder.0.weight", "encoder.0.bias"} & {name for group in moving.param_groups for name in names_of(group, network)}


def test_a_network_without_a_named_encoder_is_one_part() -> None:
    network = Network()
    moving = optimizer(network, None, Train(encoder_lr_factor=0.5, freeze_encoder=1))
    assert [group["lr"] for group in moving.param_groups] == [1e-3, 1e-3]


@pytest.mark.parametrize(
    ("changes", "kind", "momentum"),
    [
        ({}, FusedAdamW, None),
        ({"precision": "fp16"}, torch.optim.AdamW, None),
        ({"optimizer": "rmsprop"}, torch.optim.RMSprop, None),
        ({"optimizer": "sgd", "momentum": 0.8}, torch.optim.SGD, 0.8),
        ({"optimizer": "sgd", "momentum": 0.0}, torch.optim.SGD, 0.0),
    ],
)
def test_the_chosen_optimizer(changes: dict[str, Any], kind: type, momentum: float | None) -> None:
    moving, _ = made(**changes)
    assert type(moving) is kind
    if momentum is not None:
        assert {group["momentum"] for group in moving.param_groups} == {momentum}
        assert {group["nesterov"] for group in moving.param_groups} == {momentum > 0}


@pytest.mark.parametrize(("precision", "fused"), [("auto", True), ("bf16", True), ("fp32", True), ("fp16", False)])
def test_adamw_is_one_kernel_except_where_gradients_are_scaled(precision: str, fused: bool) -> None:
    """In fp16 Lightning could not clip gradients that the optimiser unscales itself."""
    moving, _ = made(precision=precision)
    assert moving.defaults["fused"] is fused


def test_the_one_kernel_computes_what_the_loop_over_weights_computes() -> None:
    moving, network = made(weight_decay=0.05)
    loop, other = made(copy.deepcopy(network), precision="fp16", weight_decay=0.05)
    chance = torch.Generator().manual_seed(0)
    for _ in range(50):
        for one, two in zip(network.parameters(), other.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=chance)
            two.grad = one.grad.clone()
        moving.step()
        loop.step()
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-6)


@pytest.mark.parametrize("resumed", [False, True])
def test_the_memory_layout_of_weights_changes_no_bit(resumed: bool) -> None:
    plain = nn.ModuleList([nn.Conv2d(6, 8, 3), nn.ConvTranspose2d(8, 4, 2), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)])
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    assert not last[0].weight.is_contiguous()
    moved, other = (optimizer(network, None, Train(lr=0.1, weight_decay=0.05)) for network in (plain, last))
    chance = torch.Generator().manual_seed(0)
    for step in range(6):
        for one, two in zip(plain.parameters(), last.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=chance)
            two.grad = one.grad.clone().contiguous(memory_format=torch.channels_last if two.dim() == 4 and step % 2 else torch.contiguous_format)
        moved.step()
        other.step()
        if resumed:
            state = io.BytesIO()
            torch.save(other.state_dict(), state)
            state.seek(0)
            other = optimizer(last, None, Train(lr=0.1, weight_decay=0.05))
            other.load_state_dict(torch.load(state, weights_only=True))
    for one, two in zip(plain.parameters(), last.parameters(), strict=True):
        assert torch.equal(one, two) and one.shape == other.state[two]["exp_avg"].shape


def rates(moving: torch.optim.Optimizer, settings: Train, steps: int) -> list[list[float]]:
    """For each step, each group's rate."""
    planned = schedule(moving, settings, steps)
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in moving.param_groups])
        moving.step()
        planned.step()
    return found


def test_a_frozen_encoder_has_no_rate_until_it_joins_in() -> None:
    changes = {"epochs": 5, "freeze_encoder": 2, "warmup": 1, "encoder_lr_factor": 0.5, "schedule": "poly"}
    moving, _ = made(**changes)
    found = rates(moving, Train(lr=0.1, **changes), 20)
    for step, (weights, biases, head, head_biases) in enumerate(found):
        expected = 0.1 * factor(step, schedule="poly", warmup_steps=4, total_steps=20)
        assert head == head_biases == pytest.approx(expected)
        assert weights == biases == pytest.approx(0.0 if step < 8 else expected / 2)
    assert found[8][0] > 0


def test_half_an_epoch_can_be_frozen_and_warmed_up() -> None:
    changes = {"epochs": 2, "freeze_encoder": 0.5, "warmup": 0.5, "schedule": "constant"}
    moving, _ = made(**changes)
    found = rates(moving, Train(lr=0.1, **changes), 8)
    assert [step[0] > 0 for step in found] == [False] * 2 + [True] * 6
    assert [step[2] for step in found] == pytest.approx([0.1 / 3, 0.2 / 3] + [0.1] * 6)


def test_a_warm_up_longer_than_the_training_ends_with_it() -> None:
    moving, _ = made(epochs=1, warmup=10)
    found = [step[0] for step in rates(moving, Train(lr=0.1, epochs=1, warmup=10), 4)]
    assert found == sorted(found)
    assert 0 < found[0] < found[-1] <= 0.1
