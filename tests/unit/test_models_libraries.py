"""Architectures from segmentation_models_pytorch and timm: pooling that exports, one image in a batch, norms, strides, auxiliary heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import factories
import pytest
import test_export_onnx as exports
import torch
from pydantic import ValidationError
from torch import nn
from torchvision.ops.misc import FrozenBatchNorm2d

from segline.errors import ModelError
from segline.models import catalog
from segline.models.norm import PooledNorm
from segline.models.pooling import GridAverage

ARCHITECTURES = ("unet", "unetplusplus", "fpn", "deeplabv3", "deeplabv3plus", "pspnet", "upernet", "segformer", "hrnet")
POOLED = ("deeplabv3", "deeplabv3plus", "pspnet", "upernet")
"""With a branch that is pooled to one value per channel."""


def network(arch: str, *, channels: int = 3, classes: int = 3, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return catalog.build(factories.settings(arch, **changes), channels=channels, classes=classes)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_exported_file_serves_sizes_that_it_was_not_traced_with(arch: str, tmp_path: Path) -> None:
    graph = exports.graph_of(arch, exports.GEOMETRIES[3])
    predictor = exports.exported(graph, tmp_path)
    for size in [(64, 96), (33, 20), (101, 150), (1, 1)]:
        image = exports.picture(*size)
        ours, theirs = exports.trained(graph, image), predictor(image, probabilities=True)
        exports.assert_same(ours, theirs)


@pytest.mark.parametrize("side", [1, 2, 3, 6])
def test_grid_averages_are_torchs_adaptive_pooling(side: int) -> None:
    for height, width in ((12, 18), (7, 5), (4, 4), (1, 1), (13, 1)):
        values = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(height))
        torch.testing.assert_close(GridAverage(side)(values), nn.functional.adaptive_avg_pool2d(values, side))


@pytest.mark.parametrize("arch", POOLED)
def test_a_batch_of_one_image_trains_the_pooled_branch(arch: str) -> None:
    built = network(arch).train()
    [pooled] = [module for module in built.modules() if isinstance(module, PooledNorm)]
    outputs = built(torch.rand(1, 3, 96, 64))
    sum(output.square().mean() for output in outputs.values()).backward()
    assert all(weight.grad is not None for weight in pooled.parameters())
    assert not pooled.norm.num_batches_tracked, "one image has no statistics to keep"
    built(torch.rand(2, 3, 96, 64))
    assert pooled.norm.num_batches_tracked == 1


def test_with_several_images_the_pooled_norm_is_batch_norm() -> None:
    norm, plain = PooledNorm(nn.BatchNorm2d(5)), nn.BatchNorm2d(5)
    values = torch.randn(4, 5, 1, 1)
    assert torch.equal(norm(values), plain(values))
    norm.eval(), plain.eval()
    assert torch.equal(norm(values[:1]), plain(values[:1]))


@pytest.mark.parametrize("arch", ["deeplabv3", "pspnet", "upernet"])
def test_the_auxiliary_head_is_there_in_training_and_when_it_has_a_share(arch: str) -> None:
    built = network(arch, auxiliary=0.3)
    assert built.output_weights == {"logits": 1.0, "aux": 0.3}
    images = torch.rand(2, 3, 64, 96)
    assert {name: tuple(output.shape) for name, output in built.train()(images).items()} == {"logits": (2, 3, 64, 96), "aux": (2, 3, 64, 96)}
    assert set(built.eval()(images)) == {"logits"}
    without = network(arch, auxiliary=0.0)
    assert set(without.train()(images)) == {"logits"} == set(without.output_weights)
    assert len(without.state_dict()) < len(built.state_dict())


@pytest.mark.parametrize("arch", ["deeplabv3", "deeplabv3plus", "pspnet"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_the_output_stride_is_by_how_much_the_encoder_shrinks(arch: str, output_stride: int) -> None:
    built = network(arch, output_stride=output_stride).eval()
    assert built.encoder(torch.rand(1, 3, 64, 96))[-1].shape[2:] == (64 // output_stride, 96 // output_stride)
    assert built.stride == output_stride
    assert built(torch.rand(1, 3, 50, 70))["logits"].shape == (1, 3, 50, 70)


DROPPING = [arch for arch in catalog.ARCHITECTURES if "dropout" in catalog.settings(arch).model_fields]


@pytest.mark.parametrize("arch", DROPPING)
def test_dropout_is_at_work_in_training_alone_and_only_where_it_is_asked_for(arch: str) -> None:
    images = torch.rand(2, 3, 64, 64)
    for share in (0.0, 0.5):
        built = network(arch, dropout=share)
        for weight in built.parameters():
            if not weight.any():
                nn.init.normal_(weight, std=0.1)  # scores that begin at zero
        built.train()
        if built.encoder is not None and arch == "segformer":
            built.encoder.eval()  # which drops paths of its own
        with torch.no_grad():
            first, second = (built(images)["logits"] for _ in range(2))
            assert torch.equal(first, second) is (share == 0)
            built.eval()
            assert torch.equal(built(images)["logits"], built(images)["logits"])


@pytest.mark.parametrize("arch", ["segformer", "hrnet"])
def test_dropout_adds_no_weights(arch: str) -> None:
    counts = [sum(weight.numel() for weight in network(arch, dropout=share).parameters()) for share in (0.0, 0.3)]
    assert counts[0] == counts[1]


class TestNorms:
    IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def test_synchronised_batch_norm_is_batch_norm_on_one_device(self) -> None:
        plain, synchronised = (network("deeplabv3", norm=norm).eval() for norm in ("batch", "sync"))
        assert not [module for module in synchronised.modules() if isinstance(module, nn.BatchNorm2d)]
        assert any(isinstance(module, nn.SyncBatchNorm) for module in synchronised.modules())
        torch.testing.assert_close(synchronised(self.IMAGES)["logits"], plain(self.IMAGES)["logits"])

    def test_instance_norm_stands_everywhere_but_where_there_is_one_value(self) -> None:
        built = network("upernet", norm="instance").train()
        assert not [module for module in built.modules() if isinstance(module, nn.BatchNorm2d)]
        [pooled] = [module for module in built.modules() if isinstance(module, PooledNorm)]
        assert isinstance(pooled.norm, nn.GroupNorm)
        assert torch.isfinite(built(self.IMAGES)["logits"]).all()

    @pytest.mark.parametrize("encoder", ["resnet18", "tu-mobilenetv3_small_050"])
    def test_frozen_is_the_encoders_batch_norm_as_its_weights_have_it(self, tmp_path: Path, encoder: str) -> None:
        donor = network("unet", encoder=encoder)
        for module in donor.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean)
                nn.init.uniform_(module.weight)
        torch.save(donor.encoder.state_dict(), tmp_path / "encoder.pt")
        keys = {"encoder": encoder, "weights": str(tmp_path / "encoder.pt")}
        plain, frozen = (network("fpn", norm=norm, **keys) for norm in ("batch", "frozen"))
        assert not [module for module in frozen.encoder.modules() if isinstance(module, nn.BatchNorm2d)]
        images = self.IMAGES
        for one, other in zip(plain.eval().encoder(images), frozen.train().encoder(images), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        trained = {id(weight) for weight in frozen.parameters()}
        norms = [module for module in frozen.encoder.modules() if isinstance(module, FrozenBatchNorm2d) or type(module).__name__.startswith("Frozen")]
        assert norms and not [name for module in norms for name, value in module.named_parameters() if id(value) in trained]

    def test_frozen_needs_something_to_keep(self) -> None:
        with pytest.raises(ValidationError, match="keeps the statistics that the encoder's weights came with, and weights is none"):
            factories.settings("pspnet", norm="frozen")


@pytest.mark.parametrize(
    ("arch", "keys", "sentence"),
    [
        ("hrnet", {"encoder": "resnet18"}, "is no HRNet. Choose one of tu-hrnet_w18, .*tu-hrnet_w64"),
        ("pspnet", {"encoder": "vgg13", "output_stride": 8}, "The encoder 'vgg13' cannot be built so .*output_stride 8.*Choose another encoder"),
        ("unetplusplus", {"encoder": "mit_b0"}, "The encoder 'mit_b0' cannot be built so .*Choose another encoder"),
    ],
)
def test_an_encoder_that_does_not_serve_gets_a_sentence(arch: str, keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        network(arch, **keys)


def test_a_classifiers_weight_file_fits_an_hrnet(tmp_path: Path) -> None:
    import timm

    donor = timm.create_model("hrnet_w18_small", pretrained=False)
    torch.save(donor.state_dict(), tmp_path / "hrnet.pth")
    loaded = network("hrnet", weights=str(tmp_path / "hrnet.pth"))
    assert torch.equal(loaded.encoder.state_dict()["model.conv1.weight"], donor.conv1.weight)
