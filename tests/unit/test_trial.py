"""The first stage's questions to the libraries: what cannot be built, run, gated or written is told before anything is prepared."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file
from servers import ModelHub

from segline import params, trial
from segline.errors import ParametersError
from segline.layout import Checkout
from segline.models.encoders import smp_network


def checkout(tmp_path: Path, text: str) -> Checkout:
    (tmp_path / "params.yaml").write_text(f"data: {{source: shapes}}\n{text}")
    return Checkout(tmp_path)


def told(tmp_path: Path, text: str) -> str:
    found = checkout(tmp_path, text)
    with pytest.raises(ParametersError) as error:
        trial.check(params.read(found.params), found)
    return "\n".join(error.value.problems)


@pytest.mark.parametrize(
    "text",
    [
        "models: {x: {arch: unet}, y: {arch: maskrcnn}}",
        "models: {x: {arch: unet, encoder: tu-resnet18}}",
        "models: {x: {arch: unet, input: {size: [32, 32]}, norm: group, train: {batch_size: 1}}}",
        "models: {x: {arch: unet, encoder: mit_b0}}",  # computes while it is built
        "models: {x: {arch: unet}, y: {arch: maskrcnn}}\npromote: {x: {metric: iou/road}, y: {metric: mask_ap_small}}",
        "models: {x: {arch: unet}, y: {arch: maskrcnn}}\nevaluate: {metrics: [iou, ece, pq]}\npromote: {x: {metric: ece, at_most: 0.1}, y: {metric: rq}}",
        "models: {x: {arch: unet}}\nruntime: {accelerator: cpu, devices: 1, strategy: ddp}",
    ],
)
def test_what_can_be_had_passes(tmp_path: Path, text: str) -> None:
    found = checkout(tmp_path, text)
    trial.check(params.read(found.params), found)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("arch: unet, encoder: resnet99", "models.x: There is no encoder 'resnet99'. Did you mean"),
        ("arch: maskrcnn, encoder: resnet99", "models.x: There is no Mask R-CNN encoder 'resnet99'. Did you mean"),
        ("arch: unet, encoder: tu-resnet81", "models.x: There is no encoder 'tu-resnet81'. Did you mean"),
        ("arch: unet, encoder: tu-zzzzzz", "timm lists its networks"),
        ("arch: unet, encoder: tu-vit_tiny_patch16_224", "models.x: The timm network 'tu-vit_tiny_patch16_224' cannot be used as an encoder"),
        ("arch: unet, encoder: tu-swin_tiny_patch4_window7_224", "models.x: the network cannot be run on 8 images of 512×512"),
        ("arch: unet, encoder: 'tu-hf-hub:timm/resnet18'", "models.x: The encoder 'tu-hf-hub:timm/resnet18' is an address"),
        ("arch: unet, weights: imagenett", "models.x.weights: 'imagenett' is neither imagenet nor none, and no such file exists. Did you mean 'imagenet'?"),
        ("arch: unet, weights: '~nosuchuser/x.pt'", "models.x.weights: '~nosuchuser/x.pt' begins with a home folder"),
        ("arch: unet, encoder: tu-resnet18, weights: nowhere.pt", "models.x.weights: 'nowhere.pt' is neither imagenet nor none"),
        ("arch: unet, input: {size: [32, 32]}, train: {batch_size: 1}", "models.x: a batch of 1 image of 32×32 leaves batch norm one value per channel"),
        ("arch: maskrcnn, input: {size: [32, 32]}, train: {batch_size: 1}", "models.x: a batch of 1 image of 32×32 leaves batch norm"),
        ("arch: unet, augment: [HorizontalFlop]", "models.x.augment: albumentations has no transform 'HorizontalFlop'. Did you mean HorizontalFlip"),
    ],
)
def test_what_a_model_names_and_nobody_has(tmp_path: Path, model: str, expected: str) -> None:
    assert expected in told(tmp_path, f"models: {{x: {{{model}}}}}")


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("promote: {x: {metric: mIoU}}", "promote.x.metric: a model of the task semantic has no figure 'mIoU'. Did you mean miou?"),
        ("promote: {x: {metric: mask_ap}}", "has no figure 'mask_ap'. Known are"),
        ("promote: {x: {metric: iuo/road}}", "has no figure 'iuo/road'"),
        ("promote: {x: {metric: boundary_iou/road}}", "promote.x.metric: boundary_iou/road is counted where it is asked for alone, and evaluate.metrics does"),
        ("evaluate: {metrics: [dice]}\npromote: {x: {metric: ece}}", "Write `evaluate: {metrics: [dice, ece]}`."),
        ("promote: {x: {metric: pixel_error, at_least: 0.9}}", "promote.x.at_least: of pixel_error less is better. Write `at_most: 0.9`."),
        ("promote: {x: {at_most: 0.9}}", "promote.x.at_most: of miou more is better. Write `at_least: 0.9`."),
        ("runtime: {accelerator: gpus}", "runtime.accelerator: there is none called 'gpus'. Did you mean"),
        ("runtime: {strategy: dpp}", "runtime.strategy: there is none called 'dpp'. Did you mean ddp"),
        ("runtime: {accelerator: cpu, devices: 6400}", "runtime.devices is 6400, and this machine has"),
        ("runtime: {devices: 0}", "runtime.devices is 0; write how many"),
        ("runtime: {devices: -2}", "runtime.devices is -2; write how many"),
    ],
)
def test_gates_and_devices(tmp_path: Path, rest: str, expected: str) -> None:
    assert expected in told(tmp_path, f"models: {{x: {{arch: unet}}}}\n{rest}")


@pytest.mark.parametrize("content", ["text", "integer keys", "other network"])
def test_a_weight_file_that_does_not_fit(tmp_path: Path, content: str) -> None:
    file = tmp_path / "encoder.pt"
    if content == "text":
        file.write_text("no tensors")
    elif content == "integer keys":
        torch.save({0: torch.zeros(1), 1: torch.zeros(2)}, file)
    else:
        torch.save({"conv.weight": torch.zeros(1)}, file)
    expected = {"text": "is no state-dict file", "integer keys": "holds no state dict", "other network": "does not fit the encoder"}[content]
    for arch in ("unet", "maskrcnn"):
        assert expected in told(tmp_path, f"models: {{x: {{arch: {arch}, weights: encoder.pt}}}}")


def test_a_weight_file_that_fits(tmp_path: Path) -> None:
    network = smp_network(smp.Unet, encoder="resnet18", weights="none", channels=3, classes=2)
    torch.save(network.encoder.state_dict(), tmp_path / "encoder.pt")  # type: ignore[union-attr,operator]
    found = checkout(tmp_path, "models: {x: {arch: unet, weights: encoder.pt}}")
    trial.check(params.read(found.params), found)


ASKED_TWICE = """
import sys
from pathlib import Path
from segline import params, trial
from segline.errors import ParametersError
from segline.layout import Checkout
for encoder in ("mobilenet_v2", "mobilenet_v2", "resnet18"):
    file = Path(sys.argv[1], "params.yaml")
    file.write_text(f"data: {{source: shapes}}\\nmodels: {{x: {{arch: unet, encoder: {encoder}, weights: imagenet}}}}")
    try:
        trial.check(params.read(file), Checkout(file.parent))
        print("fetched")
    except ParametersError as error:
        print(error)
"""


def test_published_weights_are_fetched_before_anything_is_prepared(tmp_path: Path) -> None:
    """From a server on this machine: one encoder is there, and then in the cache; the other is not there, and the sentence says so."""
    donor = smp.encoders.get_encoder("mobilenet_v2", weights=None)
    save_file({name: value.contiguous() for name, value in donor.state_dict().items()}, tmp_path / "model.safetensors")
    record = {"input_range": [0, 1], "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    ModelHub.files = {"config.json": json.dumps(record).encode(), "model.safetensors": (tmp_path / "model.safetensors").read_bytes()}
    ModelHub.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), ModelHub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = os.environ | {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hub")}
        done = subprocess.run([sys.executable, "-c", ASKED_TWICE, str(tmp_path)], env=environment, capture_output=True, text=True, check=False)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    first, again, missing = done.stdout.splitlines()
    assert (first, again) == ("fetched", "fetched")
    assert missing.startswith("params.yaml: models.x.weights: The ImageNet weights of 'resnet18' could not be loaded")
    assert missing.endswith("Check the network, or set `weights: none` or the path of a weight file.")
    downloads = [name for name in ModelHub.asked if name == "GET model.safetensors"]
    assert len(downloads) == 1, ModelHub.asked


def test_a_server_of_weights_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import VGG16_BN_Weights

    monkeypatch.setattr(trial, "_SILENCE_S", 0.5)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and never answers
        monkeypatch.setattr(VGG16_BN_Weights.IMAGENET1K_V1.value, "url", f"http://127.0.0.1:{silent.getsockname()[1]}/vgg16_bn-00000000.pth")
        start = time.monotonic()
        assert "models.x.weights: The ImageNet weights of 'vgg16_bn' could not be loaded" in told(tmp_path, "models: {x: {arch: segnet, weights: imagenet}}")
    assert time.monotonic() - start < 60
    assert socket.getdefaulttimeout() is None


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    """A file in its place refuses everybody, also who may write everywhere."""
    (tmp_path / "models").write_text("")
    assert "models cannot be written to" in told(tmp_path, "models: {x: {arch: unet}}")


def test_all_problems_are_told_together(tmp_path: Path) -> None:
    text = "models: {x: {arch: unet, encoder: a, augment: [b]}, y: {arch: maskrcnn, weights: c}}\npromote: {x: {metric: d}}\nruntime: {devices: 0}"
    found = told(tmp_path, text)
    for part in ("no encoder 'a'", "no transform 'b'", "'c' is neither", "no figure 'd'", "devices is 0"):
        assert part in found
