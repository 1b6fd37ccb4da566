"""What saves memory in training and changes no result: in-place activated batch norm against batch norm and leaky ReLU; blocks that are computed again."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import factories
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, distributed, nn

from segline.errors import ModelError
from segline.layout import ModelFolder
from segline.models import catalog, checkpointing, inplace_abn, norm
from segline.models.inplace_abn import SLOPE, InPlaceABN
from segline.tasks import catalog as tasks
from segline.training.settings import Runtime


def pair(channels: int, dtype: torch.dtype = torch.float64) -> tuple[nn.BatchNorm2d, InPlaceABN]:
    """Batch norm with scales of both signs, and in-place ABN with the same."""
    generator = torch.Generator().manual_seed(1)
    plain = nn.BatchNorm2d(channels)
    plain.weight.data = torch.rand(channels, generator=generator) * 3 - 1.5
    plain.bias.data = torch.randn(channels, generator=generator)
    plain.running_mean = torch.randn(channels, generator=generator)
    plain.running_var = torch.rand(channels, generator=generator) + 0.5
    plain = plain.to(dtype)
    return plain, InPlaceABN.like(plain).to(dtype)


def values(*size: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


class TestInPlaceABN:
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("momentum", [0.1, None])
    def test_it_is_batch_norm_and_leaky_relu_with_all_their_gradients(self, training: bool, momentum: float | None) -> None:
        plain, abn = pair(5)
        plain.train(training)
        abn.train(training)
        plain.momentum = abn.momentum = momentum
        for step in range(2):
            one, other = (values(4, 5, 3, 6, seed=step).requires_grad_() for _ in range(2))
            expected = nn.functional.leaky_relu(plain(one), SLOPE)
            found = abn(other)
            torch.testing.assert_close(found, expected)
            weights = values(4, 5, 3, 6, seed=9)
            (expected * weights).sum().backward()
            (found * weights).sum().backward()
            torch.testing.assert_close(other.grad, one.grad)
        for (name, a), b in zip(plain.named_parameters(), abn.parameters(), strict=True):
            torch.testing.assert_close(b.grad, a.grad, msg=name)
        torch.testing.assert_close(dict(abn.named_buffers()), dict(plain.named_buffers()))

    def test_its_gradient_is_the_one_of_finite_differences(self) -> None:
        _, abn = pair(3)
        given = values(2, 3, 3, 2).requires_grad_()
        abn.track_running_stats = False
        assert torch.autograd.gradcheck(lambda x, w, b: torch.func.functional_call(abn, {"weight": w, "bias": b}, (x,)), (given, abn.weight, abn.bias))

    def test_it_keeps_its_output_alone(self) -> None:
        _, abn = pair(8, torch.float32)
        kept: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value) or value, lambda value: value):
            found = abn(values(2, 8, 16, 16, dtype=torch.float32).requires_grad_())
        maps = [value for value in kept if value.dim() == 4]
        assert [value.data_ptr() for value in maps] == [found.data_ptr()]
        assert all(value.numel() <= 8 for value in kept if value.dim() != 4)

    def test_under_bf16_it_computes_in_float32(self) -> None:
        plain, abn = pair(6, torch.float32)
        one, other = (values(4, 6, 8, 8, dtype=torch.bfloat16).requires_grad_() for _ in range(2))
        expected = nn.functional.leaky_relu(plain(one.float()), SLOPE)
        found = abn(other)
        assert found.dtype == torch.bfloat16 and abn.weight.dtype == torch.float32
        torch.testing.assert_close(found.float(), expected, rtol=0.01, atol=0.01)
        expected.square().sum().backward()
        found.float().square().sum().backward()
        assert one.grad is not None and other.grad is not None
        assert float((one.grad - other.grad).float().norm() / one.grad.float().norm()) < 0.03

    def test_a_scale_of_nothing_breaks_nothing(self) -> None:
        _, abn = pair(3, torch.float32)
        abn.weight.data = torch.tensor([0.0, 1e-9, -1e-9])
        given = values(2, 3, 4, 4, dtype=torch.float32).requires_grad_()
        abn(given).square().sum().backward()
        assert all(torch.isfinite(part).all() for part in (given.grad, abn.weight.grad, abn.bias.grad) if part is not None)

    def test_one_value_per_channel_is_refused_as_by_batch_norm(self) -> None:
        plain, abn = pair(3)
        for module in (plain, abn):
            with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
                module(values(1, 3, 1, 1))

    def test_what_changes_its_output_in_place_is_found_out(self) -> None:
        _, abn = pair(3)
        found = abn(values(2, 3, 4, 4).requires_grad_())
        found += 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            found.sum().backward()


ENCODERS = {"resnet18": 19, "vgg13_bn": 22, "tu-resnet18": 19, "se_resnet50": 43, "densenet121": 130, "tu-hrnet_w18_small": 49, "efficientnet-b0": 10}
"""Encoder → pairs of a norm and a ReLU in a U-Net with it. In EfficientNet, whose activation is another, they are the decoder's."""


@pytest.mark.parametrize("encoder", ENCODERS)
def test_exactly_the_pairs_of_norm_and_relu_are_joined(encoder: str) -> None:
    """With the slope of ReLU itself, nothing of what the network computes has changed; with the leaky one, little has."""
    torch.manual_seed(0)
    network = smp.Unet(encoder, encoder_weights=None, classes=3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(-1, 1.5)
            module.bias.data.normal_(0, 0.2)
    given = values(1, 3, 64, 64, dtype=torch.float32)
    with torch.no_grad():
        before = network.eval()(given)
    norm.exchange(network, "inplace_abn", encoder=network.encoder)
    joined = [module for module in network.modules() if isinstance(module, InPlaceABN)]
    assert len(joined) == ENCODERS[encoder]
    assert not any(module.training for module in joined)
    with torch.no_grad():
        leaky = network(given)
        for module in joined:
            module.slope = 0.0
        torch.testing.assert_close(network(given), before, rtol=0, atol=0)
    assert 0 < (leaky - before).abs().max() < 0.15 * before.abs().max()
    inplace_abn.unfold(network)
    assert not any(isinstance(module, InPlaceABN | inplace_abn.InsideNorm) for module in network.modules())
    with torch.no_grad():
        torch.testing.assert_close(network(given), leaky)


OWN = {
    **{"fcn32s": 13, "fcn16s": 13, "fcn8s": 13, "deeplabv1": 13, "deconvnet": 13 + 3 + 13, "segnet": 13 + 12},
    **{"unet_2015": 18, "tiramisu56": 12, "tiramisu67": 12, "tiramisu103": 12, "patch": 3, "resenc_unet": 1 + 4 + 3},
}
"""Architecture that is written here → its pairs, as small as `factories` has it."""


@pytest.mark.parametrize("arch", OWN)
def test_networks_that_are_written_here_join_their_pairs(arch: str) -> None:
    """They compute what they do with batch norm, where the activation has the same slope; and so does the form of them that is exported."""
    built = []
    for word in ("batch", "inplace_abn"):
        torch.manual_seed(0)
        network = catalog.build(factories.settings(arch, norm=word), channels=3, classes=3)
        torch.manual_seed(1)
        for weight in network.parameters():
            if not weight.any():
                nn.init.normal_(weight, std=0.1)  # scores that begin at zero
        built.append(network.eval())
    plain, network = built
    joined = [module for module in network.modules() if isinstance(module, InPlaceABN)]
    assert len(joined) == OWN[arch]
    given = values(2, 3, 64, 64, dtype=torch.float32)
    with torch.no_grad():
        found, expected = network(given)["logits"], plain(given)["logits"]
        assert expected.std() > 0
        if arch == "resenc_unet":
            torch.testing.assert_close(found, expected)  # its own activation is the leaky one
        else:
            assert not torch.equal(found, expected)
            for module in joined:
                module.slope = 0.0
            torch.testing.assert_close(network(given)["logits"], expected, rtol=0, atol=0)
            for module in joined:
                module.slope = SLOPE
        inplace_abn.unfold(network)
        torch.testing.assert_close(network(given)["logits"], found)
    assert not any(isinstance(module, InPlaceABN | inplace_abn.InsideNorm) for module in network.modules())


@pytest.mark.parametrize("arch", sorted({"segnet", "resenc_unet", "tiramisu56", "unet_2015", "deconvnet", "patch"}))
def test_networks_that_are_written_here_keep_less(arch: str) -> None:
    """Bytes that a step keeps for its backward pass; and the gradients reach all weights."""
    kept = []
    for word in ("batch", "inplace_abn"):
        network = catalog.build(factories.settings(arch, norm=word), channels=3, classes=3).train()
        places: dict[int, int] = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda value: places.__setitem__(value.untyped_storage().data_ptr(), value.untyped_storage().nbytes()) or value,  # noqa: B023
            lambda value: value,
        ):
            outputs = network(values(2, 3, 64, 64, dtype=torch.float32))
        sum(output.square().sum() for output in outputs.values()).backward()
        assert all(weight.grad is not None for weight in network.parameters())
        kept.append(sum(places.values()))
    assert kept[1] < kept[0]


def test_a_network_without_such_a_pair_is_refused_in_a_sentence() -> None:
    with pytest.raises(ModelError, match=r"this network has no such pair\. Choose an encoder of ResNet's or VGG's kind"):
        inplace_abn.exchange(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Hardswish()))


def test_norms_of_what_is_pooled_to_one_value_stay() -> None:
    network = catalog.build(factories.settings("deeplabv3", norm="inplace_abn"), channels=3, classes=3)
    assert all(not isinstance(part, InPlaceABN) for module in network.modules() if isinstance(module, norm.PooledNorm) for part in module.modules())
    assert sum(isinstance(module, InPlaceABN) for module in network.modules()) >= 3


def test_the_exported_network_is_batch_norm_and_leaky_relu(data: Any, tmp_path: Path) -> None:
    """With parity; batch norm is folded into the convolution before it."""
    import onnx

    from segline.export.stage import export

    settings = factories.settings("unet", norm="inplace_abn", encoder="resnet18")
    plans = factories.plans("unet", settings, data)
    folder = ModelFolder(tmp_path / "unet")
    factories.untrained(folder, plans.train, data)
    state = torch.load(folder.weights, weights_only=True)
    torch.save({name: value + 0.1 * torch.rand_like(value) if value.dim() == 1 else value for name, value in state.items()}, folder.weights)
    export(plans.export, folder, data, progress=False)
    kinds = [node.op_type for node in onnx.load(folder.onnx).graph.node]
    # The decoder's last block computes the four pixels of each one below it apart.
    assert kinds.count("LeakyRelu") == 19 + 3 and "BatchNormalization" not in kinds


def test_statistics_are_of_all_processes(tmp_path: Path) -> None:
    """Three images here and five there, against eight in one process: outputs, gradients of the images and the weights, running statistics."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = multiprocessing.get_context("spawn")  # a process that has computed gradients cannot be forked into one that does
    processes = [own.Process(target=_one_of_two, args=(rank, port, str(tmp_path))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=300)
        assert process.exitcode == 0
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    _, abn = pair(4)
    whole = _step(abn, values(8, 4, 5, 3))
    for name in ("found", "given"):
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), whole[name])
    for name in ("weight", "bias"):
        torch.testing.assert_close(parts[0][name] + parts[1][name], whole[name])
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(parts[0][name], whole[name])
        torch.testing.assert_close(parts[1][name], whole[name])


def _step(abn: InPlaceABN, given: Tensor) -> dict[str, Any]:
    asked = given.clone().requires_grad_()
    found = abn(asked)
    (found**2).sum().backward()
    state = {name: value.clone() for name, value in abn.named_buffers()}
    return {"found": found.detach(), "given": asked.grad, "weight": abn.weight.grad, "bias": abn.bias.grad} | state


def _one_of_two(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    _, abn = pair(4)
    torch.save(_step(abn, values(8, 4, 5, 3)[:3] if rank == 0 else values(8, 4, 5, 3)[3:]), Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return factories.shapes_dataset(tmp_path_factory.mktemp("shapes"))


class TestCheckpointing:
    @pytest.mark.parametrize("arch", list(factories.SMALL))
    def test_every_architecture_learns_the_same_and_keeps_less(self, arch: str, data: Any) -> None:
        settings = factories.settings(arch)
        learning, task = tasks.learning(settings.task), tasks.get(settings.task)
        specification = factories.specification_of(factories.plans("model", settings, data).train)
        classes = len(specification.classes)
        split = data.split("train", task.truths)
        batch = learning.collate([split[0], split[1]])
        told: list[tuple[Tensor, list[Tensor], list[Tensor], int]] = []
        for again in (False, True):
            torch.manual_seed(0)
            network = catalog.build(settings, channels=3, classes=classes).train()
            criterion = learning.criterion(settings, network, {})
            if again:
                empty = torch.zeros(1, 64, 64, 3, dtype=torch.uint8).numpy()
                assert checkpointing.install(network, lambda: learning.graph(network, specification).run(empty))  # noqa: B023
            kept: dict[int, int] = {}
            alive: list[Tensor] = []

            def keep(value: Tensor) -> Tensor:
                alive.append(value)  # noqa: B023
                kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()  # noqa: B023
                return value

            torch.manual_seed(1)
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
                loss = learning.losses(network, criterion, batch, specification)["loss"]
            loss.backward()
            gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
            weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
            told.append((loss.detach(), gradients, list(network.buffers()), sum(size for place, size in kept.items() if place not in weights)))
        (loss, gradients, buffers, plain), (other_loss, other_gradients, other_buffers, less) = told
        torch.testing.assert_close(other_loss, loss)
        assert len(other_gradients) == len(gradients)
        for one, other in zip(gradients, other_gradients, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)
        for one, other in zip(buffers, other_buffers, strict=True):
            torch.testing.assert_close(other, one)
        assert less < 0.8 * plain

    @pytest.mark.parametrize("changes", [{}, {"norm": "inplace_abn"}], ids=["batch", "inplace_abn"])
    def test_a_training_with_it_has_the_same_losses(self, changes: dict[str, Any], data: Any, tmp_path: Path) -> None:
        from segline.training.train import train

        rows = []
        for again in (False, True):
            short = {"epochs": 2, "batch_size": 2, "precision": "fp32", "ema": 0.9, "checkpointing": again}
            plan = factories.plans("unet", factories.settings("unet", train=short, **changes), data).train
            folder = ModelFolder(tmp_path / str(again))
            runtime = Runtime(accelerator="cpu", devices=1, workers=0)
            places = {"resume_root": tmp_path / "resume", "folder": folder, "weights": None, "follow": lambda _folder: lambda: None}
            train(plan, dataset=data, runtime=runtime, commit=None, **places)
            header, *lines = folder.history.read_text().splitlines()
            column = header.split(",").index("train_loss")
            rows.append([float(line.split(",")[column]) for line in lines])
        assert rows[0] == pytest.approx(rows[1], rel=1e-4)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks gain nothing by more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
