"""The architectures that are written here: what makes each itself, and that each learns and exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import factories
import numpy as np
import onnxruntime
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.vgg import make_layers

from segline.data.store import Sample
from segline.errors import ModelError
from segline.export.onnx import write_onnx
from segline.losses.criterion import MAIN
from segline.models import catalog
from segline.models.patch.network import PatchClassifier
from segline.models.resenc_unet.network import ResidualEncoderUNet
from segline.models.semantic import SemanticNetwork
from segline.models.unet_2015.network import MirroredUNet, UNet, mirrored
from segline.models.upsampling import layers as upsampling
from segline.models.upsampling.layers import Upsample
from segline.models.upsampling.settings import Upsampling
from segline.models.vgg import layers
from segline.tasks import catalog as tasks
from segline_runtime.specification import ClassInfo, Geometry, ImageKind, Specification

WRITTEN_HERE = (
    *("fcn32s", "fcn16s", "fcn8s", "segnet", "unet_2015", "tiramisu56", "tiramisu67", "tiramisu103"),
    *("deconvnet", "deeplabv1", "deeplabv2", "patch", "resenc_unet"),
)
VGGS = ("fcn32s", "fcn16s", "fcn8s", "segnet", "deconvnet", "deeplabv1")
UPSAMPLED = [
    (arch, kind) for arch in WRITTEN_HERE if (field := catalog.settings(arch).model_fields.get("upsample")) is not None for kind in get_args(field.annotation)
]
CLASSES = tuple(ClassInfo(i, f"class {i}", (40 * i, 90, 10), i > 0) for i in range(3))
SPECIFICATION = Specification(
    task="semantic",
    model="m",
    dataset="d",
    classes=CLASSES,
    geometry=Geometry("native", None),
    mean=(0.5,) * 3,
    std=(0.25,) * 3,
    image=ImageKind(channels=3),
)


def small(arch: str, channels: int = 3, **changes: Any) -> SemanticNetwork:
    torch.manual_seed(0)
    built = catalog.build(factories.settings(arch, **changes), channels=channels, classes=len(CLASSES))
    assert isinstance(built, SemanticNetwork)
    return built


def published(arch: str, *, channels: int = 3, classes: int = 11, **changes: Any) -> nn.Module:
    """As the paper has it, without memory for its weights."""
    with torch.device("meta"):
        return catalog.build(catalog.settings(arch).model_validate({"arch": arch, **changes}), channels=channels, classes=classes)


def of_kind(network: nn.Module, *kinds: type[nn.Module]) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, kinds)]


class TestLayers:
    @pytest.mark.parametrize("layer_count", [56, 67, 103])
    def test_tiramisu_is_called_after_its_convolutions(self, layer_count: int) -> None:
        assert len(of_kind(published(f"tiramisu{layer_count}"), nn.Conv2d, nn.ConvTranspose2d)) == layer_count

    @pytest.mark.parametrize(("arch", "convolutions", "transposed"), [("fcn32s", 16, 1), ("fcn16s", 17, 2), ("fcn8s", 18, 3), ("segnet", 26, 0)])
    def test_layers_of_the_first_networks(self, arch: str, convolutions: int, transposed: int) -> None:
        network = published(arch)
        assert (len(of_kind(network, nn.Conv2d)), len(of_kind(network, nn.ConvTranspose2d))) == (convolutions, transposed)

    def test_deconvnet_is_its_own_mirror_image(self) -> None:
        network = published("deconvnet").network
        shapes = [(layer.in_channels, layer.out_channels) for layer in of_kind(network.encoder.features, nn.Conv2d)]  # type: ignore[union-attr]
        back = [(layer.in_channels, layer.out_channels) for layer in of_kind(network.decoder, nn.ConvTranspose2d)]  # type: ignore[union-attr]
        assert back[:-1] == [(after, before) for before, after in reversed(shapes[1:])]
        assert back[-1] == (64, 64)


class TestUpsampling:
    """The worked examples of the field's courses."""

    def values(self, rows: list[list[float]]) -> Tensor:
        return torch.tensor(rows)[None, None]

    def test_nearest(self) -> None:
        found = Upsample("nearest", 1, 1)(self.values([[1.0, 2], [3, 4]]))
        assert found[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]

    def test_bed_of_nails(self) -> None:
        found = Upsample("bed_of_nails", 1, 1)(self.values([[1.0, 2], [3, 4]]))
        assert found[0, 0].tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]

    def test_max_unpooling(self) -> None:
        largest, indices = upsampling.pooled(self.values([[1.0, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]))
        assert largest[0, 0].tolist() == [[5, 6], [7, 8]]
        found = Upsample("max_unpool", 1, 1)(self.values([[1.0, 2], [3, 4]]), indices)
        assert found[0, 0].tolist() == [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]

    def test_max_unpooling_is_torchs(self) -> None:
        largest, indices = upsampling.pooled(torch.randn(2, 3, 8, 12))
        assert torch.equal(upsampling.max_unpool(largest, indices), functional.max_unpool2d(largest, indices, 2))

    def test_transposed_convolution(self) -> None:
        layer = nn.ConvTranspose2d(1, 1, 2, bias=False)
        layer.weight.data = self.values([[2.0, 4], [0, 1]])
        assert layer(self.values([[3.0, 1], [1, 5]]))[0, 0].tolist() == [[6, 14, 4], [2, 17, 21], [0, 1, 5]]

    def test_bilinear(self) -> None:
        found = Upsample("bilinear", 1, 1)(self.values([[0.0, 4]]))
        assert found[0, 0].tolist() == [[0, 1, 3, 4], [0, 1, 3, 4]]

    @pytest.mark.parametrize("factor", [2, 8, 32])
    def test_a_transposed_convolution_of_the_bilinear_kernel_interpolates(self, factor: int) -> None:
        values = torch.randn(1, 3, 5, 6)
        kernel = upsampling.bilinear_kernel(3, factor)
        found = functional.conv_transpose2d(values, kernel, stride=factor, padding=factor // 2)
        expected = functional.interpolate(values, scale_factor=factor, mode="bilinear", align_corners=False)
        inside = slice(factor // 2, -(factor // 2))  # beyond the outermost centres there is nothing to interpolate with
        torch.testing.assert_close(found[:, :, inside, inside], expected[:, :, inside, inside])

    @pytest.mark.parametrize("kernel", [2, 3, 4])
    @pytest.mark.parametrize("kind", get_args(Upsampling))
    def test_each_doubles_the_sides_and_sets_the_channels(self, kind: Upsampling, kernel: int) -> None:
        _, indices = upsampling.pooled(torch.randn(2, 4, 6, 10))
        assert Upsample(kind, 8, 4, kernel=kernel)(torch.randn(2, 8, 3, 5), indices).shape == (2, 4, 6, 10)

    @pytest.mark.parametrize(("arch", "kind"), UPSAMPLED)
    def test_each_decoder_takes_the_knob(self, arch: str, kind: str) -> None:
        built = small(arch, upsample=kind).train()
        loss = torch.stack([output.square().sum() + output.sum() for output in built(torch.randn(2, 3, 64, 64)).values()]).sum()
        loss.backward()
        assert torch.isfinite(loss)
        assert not [name for name, weight in built.named_parameters() if weight.requires_grad and weight.grad is None]


class TestVgg:
    """What the networks made of VGG-16 share."""

    def state(self, width: int, norm: bool) -> dict[str, Tensor]:
        """As torchvision saves a VGG-16, narrower."""
        plan: list[int | str] = []
        for times in ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8)):
            plan += [*(width * n for n in times), "M"]
        classifier = nn.Sequential(nn.Linear(8 * width * 49, 64 * width), nn.ReLU(), nn.Dropout(), nn.Linear(64 * width, 64 * width), nn.ReLU())
        whole = nn.ModuleDict({"features": make_layers(plan, batch_norm=norm), "classifier": classifier.append(nn.Dropout()).append(nn.Linear(64 * width, 10))})
        return whole.state_dict()

    @pytest.mark.parametrize("arch", VGGS)
    @pytest.mark.parametrize("norm", ["none", "batch"])
    def test_a_file_of_torchvisions(self, tmp_path: Path, arch: str, norm: str) -> None:
        state = self.state(4, norm == "batch")
        torch.save(state, tmp_path / "vgg.pt")
        built = small(arch, norm=norm, weights=str(tmp_path / "vgg.pt"))
        assert built.encoder is not None
        loaded = built.encoder.state_dict()
        assert all(torch.equal(loaded[name], value) for name, value in state.items() if name.startswith("features."))
        grey = small(arch, channels=1, norm=norm, weights=str(tmp_path / "vgg.pt"))
        assert grey.encoder is not None
        torch.testing.assert_close(grey.encoder.state_dict()["features.0.weight"], state["features.0.weight"][:, :1] * 3)
        assert catalog.pretrained_statistics(factories.settings(arch, weights=str(tmp_path / "vgg.pt"))) is not None
        assert catalog.pretrained_statistics(factories.settings(arch)) is None

    def test_dense_layers_become_convolutions(self, tmp_path: Path) -> None:
        """Run on the 7 × 7 map of a 224 × 224 image, fc6 has in its centre what the classifier's hidden layer gives."""
        state = self.state(4, False)
        torch.save(state, tmp_path / "vgg.pt")
        encoder = layers.encoder(channels=3, width=4, norm=False, weights=str(tmp_path / "vgg.pt"), dense=layers.Dense(256))
        features = torch.randn(2, 32, 7, 7)
        hidden = functional.linear(features.flatten(1), state["classifier.0.weight"], state["classifier.0.bias"])
        torch.testing.assert_close(encoder.fc6(features)[:, :, 3, 3], hidden)
        second = functional.linear(hidden, state["classifier.3.weight"], state["classifier.3.bias"])
        torch.testing.assert_close(encoder.fc7(encoder.fc6(features))[:, :, 3, 3], second)

    def test_the_large_field_of_view_takes_every_third_pixel_of_every_fourth_channel(self, tmp_path: Path) -> None:
        state = self.state(4, False)
        torch.save(state, tmp_path / "vgg.pt")
        built = small("deeplabv1", weights=str(tmp_path / "vgg.pt"))
        assert built.encoder is not None
        weight = state["classifier.0.weight"].reshape(256, 32, 7, 7)
        assert torch.equal(built.encoder.fc6.weight, weight[::4, :, [0, 3, 6]][:, :, :, [0, 3, 6]])  # type: ignore[union-attr]
        assert torch.equal(built.encoder.fc7.weight[:, :, 0, 0], state["classifier.3.weight"][::4, ::4])  # type: ignore[union-attr,index]

    def test_a_classifier_that_does_not_fit_is_told(self, tmp_path: Path) -> None:
        state = self.state(4, False) | {"classifier.0.weight": torch.zeros(256, 32)}
        torch.save(state, tmp_path / "vgg.pt")
        with pytest.raises(ModelError, match="does not fit fc6 and fc7"):
            small("fcn8s", weights=str(tmp_path / "vgg.pt"))

    def test_imagenet_weights_have_one_width(self) -> None:
        with pytest.raises(ValidationError, match="`weights: imagenet` are those of `width: 64`"):
            factories.settings("segnet", weights="imagenet")


class TestFcn:
    def test_its_last_upsampling_stays_bilinear_and_the_others_learn(self) -> None:
        network: Any = small("fcn8s").network
        assert torch.equal(network.to_pixels.layer.weight, upsampling.bilinear_kernel(3, 8))
        assert not network.to_pixels.layer.weight.requires_grad
        for upsample in network.upsample:
            assert torch.equal(upsample.layer.weight, upsampling.bilinear_kernel(3, 2))
            assert upsample.layer.weight.requires_grad

    @pytest.mark.parametrize(("arch", "used"), [("fcn32s", []), ("fcn16s", [3]), ("fcn8s", [3, 2])])
    def test_it_adds_the_scores_of_shallower_poolings(self, arch: str, used: list[int]) -> None:
        network: Any = small(arch).network.eval()
        assert network.skips == used
        images = torch.randn(1, 3, 64, 64)
        assert not network(images).any(), "scores begin at zero"
        for score in network.skip_scores:
            before = network(images)
            nn.init.normal_(score.weight)
            assert not torch.equal(network(images), before)


class TestUnpooling:
    @pytest.mark.parametrize("arch", ["segnet", "deconvnet"])
    def test_values_return_to_where_the_encoder_found_the_largest(self, arch: str) -> None:
        network: Any = small(arch).network.eval()
        seen: list[tuple[Tensor, Tensor]] = []
        for upsample in network.upsample:
            upsample.register_forward_hook(lambda _, inputs, output: seen.append((inputs[1], output)))
        images = torch.randn(1, 3, 64, 64)
        network(images)
        values = images
        for stage, (indices, unpooled) in enumerate(reversed(seen)):
            values, expected = functional.max_pool2d(network.encoder.stage(stage, values), 2, return_indices=True)
            assert torch.equal(indices, expected)
            places = torch.zeros_like(unpooled, dtype=torch.bool).flatten(2).scatter(2, expected.flatten(2), True)
            assert not unpooled.flatten(2)[~places].any()
            assert unpooled.any()


class TestDeepLab:
    @pytest.mark.parametrize("arch", ["deeplabv1", "deeplabv2"])
    def test_its_scores_have_stride_8(self, arch: str) -> None:
        assert small(arch).network.eval()(torch.randn(1, 3, 64, 96)).shape == (1, 3, 8, 12)

    def test_large_field_of_view(self) -> None:
        encoder: Any = published("deeplabv1").encoder
        assert (encoder.fc6.kernel_size, encoder.fc6.dilation) == ((3, 3), (12, 12))
        assert [layer.dilation for layer in of_kind(encoder.features, nn.Conv2d)] == [(1, 1)] * 10 + [(2, 2)] * 3

    def test_the_pyramid_sums_what_it_sees_at_four_rates(self) -> None:
        network: Any = small("deeplabv2").network.eval()
        features = network.encoder(torch.randn(1, 3, 64, 64))[-1]
        network.encoder = nn.Identity()
        summed = sum(
            functional.conv2d(features, b.weight, b.bias, padding=r, dilation=r) for b, r in zip(network.decoder.branches, (6, 12, 18, 24), strict=True)
        )
        torch.testing.assert_close(network([features]), summed)


class TestUNet2015:
    def test_572_pixels_give_388(self) -> None:
        network: Any = published("unet_2015", channels=1, classes=2).network
        assert isinstance(network, MirroredUNet)
        with torch.device("meta"):
            assert network.network(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)
            assert network(torch.empty(1, 1, 384, 96)).shape == (1, 2, 384, 96)

    def test_the_border_is_mirrored(self) -> None:
        image = np.random.default_rng(0).random((1, 1, 5, 40), dtype=np.float32)  # smaller than its border, too
        expected = np.pad(image, ((0, 0), (0, 0), (12, 12), (12, 12)), mode="reflect")
        np.testing.assert_array_equal(mirrored(torch.from_numpy(image), 12).numpy(), expected)

    def test_each_score_is_computed_from_the_image_alone(self) -> None:
        """A valid network gives a tile what it gives the whole image there; one of padded convolutions does not."""
        image = torch.randn(1, 3, 236, 236)  # 204 is the smallest tile of which the maps fit
        for padding, equal in ((0, True), (1, False)):
            torch.manual_seed(0)
            network = UNet(channels=3, classes=3, width=2, padding=padding, norm=False, dropout=0.5, upsample="transposed").eval()
            sized = image if padding == 0 else image[:, :, :224, :224]
            whole, tile = network(sized), network(sized[:, :, 16:, 16:])
            found = whole[:, :, 16:, 16:]
            assert found.shape == tile.shape
            assert torch.allclose(found, tile, atol=1e-5) is equal


class TestPatch:
    def test_farabets_patches_have_46_pixels(self) -> None:
        network: Any = published("patch").network
        assert network.side == 46

    @pytest.mark.parametrize(("kernel", "widths"), [(7, [3, 4, 5]), (3, [4, 4, 4, 4]), (2, [4]), (5, [3, 4])])
    @pytest.mark.parametrize("norm", [False, True])
    def test_the_dense_output_is_the_classifier_run_at_each_pixel(self, kernel: int, widths: list[int], norm: bool) -> None:
        torch.manual_seed(0)
        network = PatchClassifier(channels=3, classes=5, kernel=kernel, widths=widths, hidden=6, dropout=0.5, norm=norm).eval()
        images = torch.randn(1, 3, 9, 11)
        before = (network.side - 1) // 2
        bordered = functional.pad(images, (before, network.side - 1 - before, before, network.side - 1 - before))
        patches = functional.unfold(bordered, network.side).reshape(3, network.side, network.side, -1).permute(3, 0, 1, 2)
        single = network.classify(patches)
        assert single.shape == (99, 5, 1, 1)
        torch.testing.assert_close(network(images)[0].flatten(1).T, single[:, :, 0, 0], atol=1e-5, rtol=1e-4)


class TestResidualEncoderUNet:
    def test_lower_resolutions_predict_in_training_alone(self) -> None:
        built = small("resenc_unet", widths=[4, 8, 8, 8, 8], blocks=[1, 2, 1, 1, 1])
        assert built.output_weights == {"logits": 1.0, "aux2": 0.5, "aux4": 0.25}
        network: Any = built.network
        assert isinstance(network, ResidualEncoderUNet)
        sides = {name: output.shape[-1] for name, output in network.train()(torch.randn(2, 3, 64, 64)).items()}
        assert sides == {"logits": 64, "aux2": 32, "aux4": 16}
        assert set(network.eval()(torch.randn(2, 3, 64, 64))) == {MAIN}
        assert small("resenc_unet", deep_supervision=False).output_weights == {"logits": 1.0}

    def test_stages_are_told_once_each(self) -> None:
        with pytest.raises(ValidationError, match="widths has 3 entries and blocks 2"):
            factories.settings("resenc_unet", widths=[8, 8, 8], blocks=[1, 1])


def batch_of(arch: str) -> list[Sample]:
    """Two images of rectangles in their classes' colours; their edges are where the scores of the coarsest network can have them."""
    side = 32 if arch == "fcn32s" else 16
    random, found = np.random.default_rng(0), []
    for i, (bottom, right) in enumerate(((64, side), (side, 64))):
        mask = np.zeros((64, 64), np.uint8)
        mask[:bottom, :right] = 1 + i
        image = random.integers(0, 80, (64, 64, 3)) + np.array([[120, 0, 0], [0, 120, 0], [0, 0, 120]])[mask]
        found.append(Sample(i, str(i), image.astype(np.uint8), mask, None))
    return found


@pytest.mark.parametrize("arch", WRITTEN_HERE)
def test_every_weight_learns(arch: str) -> None:
    """After two steps, as blocks and streams that begin at zero keep the gradient from what is behind them in the first."""
    built, learning = small(arch).train(), tasks.learning("semantic")
    criterion, batch = learning.criterion(factories.settings(arch), built, {}), learning.collate(batch_of(arch))
    optimizer = torch.optim.AdamW(built.parameters(), lr=1e-3)
    moved = dict.fromkeys((name for name, weight in built.named_parameters() if weight.requires_grad and weight.dim() > 1), False)
    for _ in range(4):
        optimizer.zero_grad()
        learning.losses(built, criterion, batch, SPECIFICATION)["loss"].backward()
        optimizer.step()
        moved |= {name: True for name, weight in built.named_parameters() if weight.dim() > 1 and weight.grad is not None and bool(weight.grad.any())}
    assert not [name for name, has in moved.items() if not has]


@pytest.mark.parametrize(
    ("arch", "changes"),
    [
        *((arch, {}) for arch in WRITTEN_HERE if arch not in ("tiramisu67", "tiramisu103")),  # here as small as tiramisu56, and the same
        ("segnet", {"upsample": "bed_of_nails"}),
        ("unet_2015", {"padding": "same"}),
        ("resenc_unet", {"norm": "batch", "upsample": "bilinear"}),
    ],
)
def test_it_exports_and_takes_any_size(arch: str, changes: dict[str, Any], tmp_path: Path) -> None:
    built = small(arch, **changes)
    for weight in built.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.1)
    graph = tasks.learning("semantic").graph(built, SPECIFICATION).eval()
    write_onnx(graph, SPECIFICATION, tmp_path / "m.onnx", 18, exporter=catalog.settings(arch).exporter)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for height, width in ((64, 96), (33, 70), (97, 41)):
        images = np.random.default_rng(1).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        with torch.no_grad():
            expected = graph(torch.from_numpy(images))[1].numpy()
        [found] = session.run(["logits"], {"images": images})
        assert found.shape == expected.shape == (2, 3, height, width)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
