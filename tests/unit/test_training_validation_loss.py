"""The loss of validation images: what it is, and that telling it changes nothing of the training."""

from __future__ import annotations

from dataclasses import replace

import factories
import numpy as np
import pytest
import torch
from torch import nn

from segline.data.store import PreparedDataset, Sample
from segline.losses.criterion import MAIN, Criterion
from segline.losses.cross_entropy import Settings as CrossEntropy
from segline.models import catalog
from segline.tasks import catalog as tasks
from segline.tasks.graph import normalised
from segline.training.augment import cut
from segline.training.validation_loss import ValidationLoss
from segline_runtime.geometry import windows
from segline_runtime.specification import Geometry, Specification, Tile

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return factories.shapes_dataset(tmp_path_factory.mktemp("shapes"), train=2, val=3, size=(64, 64))


def made(dataset: PreparedDataset, arch: str, geometry: Geometry) -> tuple[nn.Module, nn.Module | None, Specification, list[Sample]]:
    plan = factories.plans("m", factories.settings(arch), dataset).train
    specification = replace(factories.card(plan, dataset).specification, geometry=geometry)
    torch.manual_seed(0)
    network = catalog.build(plan.settings, channels=3, classes=len(plan.classes)).train()
    criterion = tasks.learning(plan.task).criterion(plan.settings, network, plan.class_weights)
    return network, criterion, specification, list(dataset.split("val", tasks.get(plan.task).truths))


def told(network: nn.Module, criterion: nn.Module | None, specification: Specification, *lots: list[Sample]) -> float:
    """The loss of lots of images, each in a process of its own."""
    task, learning = tasks.get(specification.task), tasks.learning(specification.task)
    whole, *parts = (ValidationLoss(network, criterion, task=task, learning=learning, specification=specification) for _ in range(len(lots) + 1))
    for part, samples in zip(parts, lots, strict=True):
        part.add(samples, CPU, seed=3)
        whole.merge(part.state())
    return whole.mean()


@pytest.mark.parametrize("arch", ["unet", "maskrcnn"])
@pytest.mark.parametrize("geometry", [Geometry("letterbox", (64, 96)), Geometry("native", None), Geometry("native", None, Tile((32, 48), 8))])
def test_the_training_does_not_notice_it(dataset: PreparedDataset, arch: str, geometry: Geometry) -> None:
    network, criterion, specification, samples = made(dataset, arch, geometry)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    frozen = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    frozen.eval()  # some parts are in eval mode while others train, and stay so
    modes = [module.training for module in network.modules()]
    random = torch.get_rng_state()
    first = told(network, criterion, specification, samples)
    assert torch.equal(torch.get_rng_state(), random)
    torch.rand(1)
    assert first > 0 and told(network, criterion, specification, samples) == first, "the same seed gives the same loss, whatever was drawn before"
    assert [module.training for module in network.modules()] == modes
    for name, value in network.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert all(weight.grad is None for weight in network.parameters())


def test_a_semantic_loss_is_that_of_the_image_at_the_networks_size(dataset: PreparedDataset) -> None:
    network, criterion, specification, samples = made(dataset, "unet", Geometry("native", None))
    assert criterion is not None
    expected = []
    network.eval()
    for sample in samples:
        assert sample.mask is not None
        image = torch.from_numpy(sample.image.transpose(2, 0, 1).copy())[None]
        with torch.no_grad():
            expected.append(float(criterion(network(normalised(image, specification)), torch.from_numpy(sample.mask.astype(np.int64))[None])["loss"]))
    network.train()
    assert told(network, criterion, specification, samples) == pytest.approx(np.mean(expected), rel=1e-5)
    assert told(network, criterion, specification, samples[:1], samples[1:], []) == pytest.approx(np.mean(expected), rel=1e-5)
    assert np.isnan(told(network, criterion, specification, []))


def test_of_an_image_with_windows_it_is_the_mean_over_them(dataset: PreparedDataset) -> None:
    tile = Tile((40, 48), 8)
    network, criterion, specification, samples = made(dataset, "unet", Geometry("native", None, tile))
    parts = cut(samples[0], windows((64, 64), tile))
    assert [part.image.shape[:2] for part in parts] == [(40, 48)] * 4
    whole = replace(specification, geometry=Geometry("native", None))
    assert told(network, criterion, specification, samples[:1]) == pytest.approx(told(network, criterion, whole, parts), rel=1e-5)


def test_a_window_has_the_objects_that_lie_in_it(dataset: PreparedDataset) -> None:
    sample = next(sample for sample in dataset.split("val", ["instances"]) if sample.instances)
    found = sample.instances
    assert found is not None
    for (top, left, bottom, right), part in zip([(0, 0, 32, 32), (16, 20, 64, 64)], cut(sample, [(0, 0, 32, 32), (16, 20, 64, 64)]), strict=True):
        there = [i for i in range(len(found)) if found.mask(i)[top:bottom, left:right].any()]
        assert part.instances is not None and len(part.instances) == len(there)
        for j, i in enumerate(there):
            np.testing.assert_array_equal(part.instances.mask(j), found.mask(i)[top:bottom, left:right])
            assert part.instances.labels[j] == found.labels[i]


def test_auxiliary_outputs_that_are_not_there_add_nothing() -> None:
    criterion = Criterion({"cross_entropy": CrossEntropy()}, output_weights={MAIN: 1.0, "auxiliary": 0.4})
    main, truth = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
    alone = criterion({MAIN: main}, truth)
    assert float(alone["loss"]) == pytest.approx(float(criterion({MAIN: main, "auxiliary": main}, truth)["loss"]) / 1.4)
    assert "auxiliary" not in alone
