"""What holds for every architecture of the catalogue; encoders and their weights; group norm; padding to the stride."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import save_file
from servers import ModelHub
from torch import nn

from segline.data.store import Instances, Sample
from segline.errors import ModelError
from segline.models import catalog, encoders
from segline.models.imagenet import IMAGENET_STATISTICS
from segline.models.norm import to_group_norm
from segline.models.semantic import SemanticNetwork
from segline.models.semantic_settings import SemanticSettings
from segline.tasks import catalog as tasks
from segline.tasks.predictor import GraphPredictor
from segline_runtime.specification import ClassInfo, Geometry, ImageKind, Specification

CLASSES = tuple(ClassInfo(i, f"class {i}", (40 * i, 90, 10), i > 0) for i in range(3))


def specification(arch: str, channels: int = 3) -> Specification:
    model = factories.settings(arch)
    return Specification(
        task=model.task,
        model=arch,
        dataset="d",
        classes=CLASSES,
        geometry=Geometry("stretch", (64, 64)),
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        image=ImageKind(channels=channels),
    )


def network(arch: str, channels: int = 3, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return catalog.build(factories.settings(arch, **changes), channels=channels, classes=len(CLASSES))


def samples(channels: int = 3) -> list[Sample]:
    random = np.random.default_rng(0)
    found = []
    for i, (height, width) in enumerate([(64, 64), (64, 64)]):
        mask = np.zeros((height, width), np.uint8)
        mask[8:40, 8 + i : 44] = 1 + i
        objects = Instances((mask > 0)[None], np.array([[8 + i, 8, 44, 40]], np.float32), np.array([1 + i]), np.zeros(1, np.bool_))
        found.append(Sample(i, str(i), random.integers(0, 256, (height, width, channels), dtype=np.uint8), mask, objects))
    return found


@pytest.mark.parametrize("arch", [arch for arch in catalog.ARCHITECTURES if issubclass(catalog.settings(arch), SemanticSettings)])
def test_each_class_for_itself_reaches_every_weight_too(arch: str) -> None:
    model = factories.settings(arch, multilabel=True)
    built, learning = network(arch).train(), tasks.learning(model.task)
    losses = learning.losses(built, learning.criterion(model, built, {}), learning.collate(samples()), specification(arch))
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])
    assert not [name for name, weight in built.named_parameters() if weight.requires_grad and weight.grad is None]


@pytest.mark.parametrize("arch", catalog.ARCHITECTURES)
class TestEveryArchitecture:
    """A new one is listed in `factories.SMALL`, and everything below asks it."""

    def test_the_word_stands_in_its_settings(self, arch: str) -> None:
        settings = catalog.settings(arch)
        assert settings.model_fields["arch"].default == arch
        assert settings.task_of_arch in tasks.TASKS
        assert settings.__doc__

    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_a_batch_reaches_every_weight(self, arch: str, channels: int) -> None:
        built = network(arch, channels).train()
        learning, model = tasks.learning(factories.settings(arch).task), factories.settings(arch)
        criterion = learning.criterion(model, built, {})
        losses = learning.losses(built, criterion, learning.collate(samples(channels)), specification(arch, channels))
        losses["loss"].backward()
        assert torch.isfinite(losses["loss"])
        without = [name for name, weight in built.named_parameters() if weight.requires_grad and weight.grad is None]
        assert not without

    def test_it_learns_one_batch(self, arch: str) -> None:
        built = network(arch).train()
        learning, model = tasks.learning(factories.settings(arch).task), factories.settings(arch)
        criterion, batch = learning.criterion(model, built, {}), learning.collate(samples())
        optimizer = torch.optim.AdamW(built.parameters(), lr=1e-3)
        values: list[float] = []
        while len(values) < 40 and not (values and values[-1] < 0.8 * values[0]):
            optimizer.zero_grad()
            loss = learning.losses(built, criterion, batch, specification(arch))["loss"]
            loss.backward()
            optimizer.step()
            values.append(loss.item())
        assert values[-1] < 0.8 * values[0]

    def test_any_size_gives_predictions_of_that_size(self, arch: str) -> None:
        kind = specification(arch)
        native = replace(kind, geometry=Geometry("native", None))
        for chosen in (kind, native):
            predict = GraphPredictor(tasks.learning(kind.task).graph(network(arch), chosen), chosen)
            images = [np.zeros((height, width, 3), np.uint8) for height, width in ((33, 70), (64, 64), (97, 41))]
            for image, found in zip(images, predict(images), strict=True):
                sized = found.class_ids if hasattr(found, "class_ids") else found.masks
                assert sized.shape[-2:] == image.shape[:2]

    def test_saved_and_loaded_it_is_the_same(self, arch: str, tmp_path: Path) -> None:
        first, second = network(arch), catalog.build(factories.settings(arch), channels=3, classes=len(CLASSES))
        torch.save(first.state_dict(), tmp_path / "w.pt")
        second.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
        for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
            assert torch.equal(one, other)

    def test_it_says_which_part_is_the_encoder(self, arch: str) -> None:
        """It has one exactly where weights can be given for it."""
        built = network(arch)
        assert (built.encoder is not None) == ("weights" in catalog.settings(arch).model_fields)
        inside = {id(weight) for weight in built.encoder.parameters()} if built.encoder is not None else set()
        assert bool(inside) == (built.encoder is not None)
        assert inside < {id(weight) for weight in built.parameters()}

    def test_group_norm_leaves_no_batch_norm(self, arch: str) -> None:
        built = network(arch, norm="group")
        assert any(isinstance(module, nn.GroupNorm) for module in built.modules())
        assert not any(isinstance(module, nn.BatchNorm2d) for module in built.modules())


@pytest.mark.parametrize("arch", [arch for arch in catalog.ARCHITECTURES if "encoder" in catalog.settings(arch).model_fields])
def test_an_unknown_encoder_names_the_nearest(arch: str) -> None:
    with pytest.raises(ModelError, match="Did you mean resnet18"):
        network(arch, encoder="resnet188")


class TestStatistics:
    """Mean and standard deviation that pre-trained weights expect, from the records of who trained them."""

    @pytest.mark.parametrize("encoder", ["tu-tf_efficientnet_lite0", "tu-vit_tiny_patch16_224", "tu-resnet18"])
    def test_timms_own_record(self, encoder: str) -> None:
        config = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
        assert encoders.smp_statistics(encoder, "imagenet") == (tuple(config.mean), tuple(config.std))

    def test_not_all_are_imagenets_common_ones(self) -> None:
        assert encoders.smp_statistics("tu-tf_efficientnet_lite0", "imagenet") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def test_a_file_is_taken_for_imagenets_and_none_for_nothing(self) -> None:
        assert encoders.smp_statistics("resnet18", "/some/file.pth") == IMAGENET_STATISTICS
        assert encoders.smp_statistics("resnet18", "none") is None


def test_imagenet_weights_and_their_statistics_come_from_the_hub(tmp_path: Path) -> None:
    """The libraries' own download, against a server on this machine: 683 of 1,826 recorded networks expect other statistics than the common ones."""
    donor = smp.encoders.get_encoder("mobilenet_v2", weights=None)
    save_file({name: value.contiguous() for name, value in donor.state_dict().items()}, tmp_path / "model.safetensors")
    record = {"input_range": [0, 255], "mean": [127.5, 127.5, 127.5], "std": [51.0, 51.0, 51.0]}
    ModelHub.files = {"config.json": json.dumps(record).encode(), "model.safetensors": (tmp_path / "model.safetensors").read_bytes()}
    program = (
        "import factories, torch\n"
        "from segline.models import catalog\n"
        "settings = factories.settings('unet', weights='imagenet')\n"
        "print(catalog.pretrained_statistics(settings))\n"
        "network = catalog.build(settings, channels=3, classes=2)\n"
        "print(float(network.encoder.state_dict()['features.0.0.weight'].double().sum()))\n"
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), ModelHub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = os.environ | {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "hub"),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    statistics, total = done.stdout.splitlines()
    assert statistics == "((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))"
    assert float(total) == pytest.approx(float(donor.state_dict()["features.0.0.weight"].double().sum()), abs=1e-9)


class TestWeightFiles:
    def test_an_encoders_own_state_dict(self, tmp_path: Path) -> None:
        donor = smp.encoders.get_encoder("resnet18", weights=None)
        torch.save(donor.state_dict(), tmp_path / "encoder.pt")
        loaded = network("unet", encoder="resnet18", weights=str(tmp_path / "encoder.pt"))
        assert torch.equal(loaded.encoder.conv1.weight, donor.conv1.weight)

    def test_a_timm_classifier_with_its_head(self, tmp_path: Path) -> None:
        donor = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        torch.save(donor.state_dict(), tmp_path / "lite0.pth")
        loaded = network("unet", encoder="tu-tf_efficientnet_lite0", weights=str(tmp_path / "lite0.pth"))
        assert torch.equal(loaded.encoder.state_dict()["model.conv_stem.weight"], donor.conv_stem.weight)

    def test_colour_weights_serve_other_channels(self, tmp_path: Path) -> None:
        donor = smp.encoders.get_encoder("resnet18", weights=None)
        torch.save(donor.state_dict(), tmp_path / "encoder.pt")
        grey = network("unet", channels=1, encoder="resnet18", weights=str(tmp_path / "encoder.pt"))
        assert torch.allclose(grey.encoder.conv1.weight, donor.conv1.weight[:, :1] * 3)

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (lambda file: file.write_text("no tensors"), "is no state-dict file"),
            (lambda file: torch.save([1, 2], file), "holds no state dict"),
            (lambda file: torch.save({"a": torch.zeros(1)}, file), "does not fit the encoder"),
        ],
    )
    def test_what_does_not_fit_is_told(self, tmp_path: Path, content: Any, sentence: str) -> None:
        content(tmp_path / "file.pt")
        with pytest.raises(ModelError, match=sentence):
            network("unet", weights=str(tmp_path / "file.pt"))

    def test_a_file_that_is_not_there(self) -> None:
        with pytest.raises(ModelError, match="no such file exists"):
            network("unet", weights="nowhere.pt")


class _Quarter(nn.Module):
    """Logits at a quarter of the input's resolution, with an auxiliary head."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 4, stride=4)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        assert images.shape[2] % 8 == 0
        assert images.shape[3] % 8 == 0
        logits = self.layer(images)
        return {"logits": logits, "aux": 2 * logits}


def test_a_network_is_padded_to_its_stride_and_its_outputs_come_back_at_the_inputs_size() -> None:
    built = SemanticNetwork(_Quarter(), stride=8, output_weights={"aux": 0.4})
    assert built.output_weights == {"logits": 1.0, "aux": 0.4}
    outputs = built.train()(torch.rand(2, 3, 21, 40))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {"logits": (2, 2, 21, 40), "aux": (2, 2, 21, 40)}
    assert set(built.eval()(torch.rand(1, 3, 16, 16))) == {"logits"}


def test_group_norm_keeps_the_activations_within_timms_batch_norm() -> None:
    def activations(built: nn.Module) -> int:
        return sum(isinstance(module, nn.Hardswish | nn.ReLU) for module in built.modules())

    plain, grouped = (network("unet", encoder="tu-mobilenetv3_small_050", norm=norm) for norm in ("batch", "group"))
    assert activations(grouped) == activations(plain) > 10
    assert grouped.eval()(torch.rand(1, 3, 64, 64))["logits"].shape == (1, 3, 64, 64)


def test_group_norm_keeps_scale_and_shift_and_divides_the_channels() -> None:
    norm = nn.BatchNorm2d(48)
    nn.init.uniform_(norm.weight)
    network_ = to_group_norm(nn.Sequential(nn.Conv2d(3, 48, 3), norm, nn.BatchNorm2d(7)))
    assert isinstance(network_[1], nn.GroupNorm)
    assert network_[1].num_groups == 24
    assert torch.equal(network_[1].weight, norm.weight)
    assert isinstance(network_[2], nn.GroupNorm)
    assert network_[2].num_groups == 7
