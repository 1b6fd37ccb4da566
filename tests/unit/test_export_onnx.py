"""The graphs, their ONNX files, and the predictor that runs them: small real networks with seeded random weights."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import segmentation_models_pytorch as smp
import torch
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from segline.export.disagreement import disagreement
from segline.export.onnx import write_onnx
from segline.models.semantic import registry as semantic_networks
from segline.tasks.graphs import EvalGraph, InstanceGraph, SemanticGraph, evaluating
from segline_runtime.images import InputError
from segline_runtime.postprocess import decode
from segline_runtime.predictions import InstancePrediction, SemanticPrediction
from segline_runtime.predictor import Predictor
from segline_runtime.specification import METADATA_KEY, ClassInfo, Specification

CLASSES = tuple(ClassInfo(i, f"class {i}", (40 * i, 90, 10), i > 0) for i in range(4))
SEMANTIC = Specification("semantic", "unet", "d", CLASSES, (64, 96), "stretch", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
INSTANCE = replace(SEMANTIC, task="instance", model="maskrcnn", resize="shorter_side")
OPSET = 18
SIZES = [(64, 96), (33, 20), (50, 130), (131, 50), (101, 103), (1, 1)]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth coloured blobs: noise alone shows a network nothing."""
    rng = np.random.default_rng(seed)
    small = torch.from_numpy(rng.integers(0, 256, (1, 3, 6, 6)).astype(np.float32))
    large = torch.nn.functional.interpolate(small, size=(height, width), mode="bilinear")
    return large[0].permute(1, 2, 0).to(torch.uint8).numpy()


def maskrcnn(threshold: float) -> MaskRCNN:
    torch.manual_seed(0)
    return MaskRCNN(
        resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=torch.nn.BatchNorm2d, trainable_layers=5),
        num_classes=len(CLASSES),
        min_size=64,
        max_size=96,
        image_mean=list(INSTANCE.mean),
        image_std=list(INSTANCE.std),
        rpn_pre_nms_top_n_test=100,
        rpn_post_nms_top_n_test=50,
        box_score_thresh=threshold,
        box_detections_per_img=15,
    )


@pytest.fixture(scope="module")
def semantic() -> SemanticGraph:
    torch.manual_seed(0)
    return SemanticGraph(smp.Unet("resnet18", encoder_weights=None, classes=len(CLASSES)), SEMANTIC)


@pytest.fixture(scope="module")
def instance() -> InstanceGraph:
    return InstanceGraph(maskrcnn(0.0), INSTANCE)


@pytest.fixture(scope="module")
def semantic_file(semantic: SemanticGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(semantic, SEMANTIC, tmp_path_factory.mktemp("semantic"))


@pytest.fixture(scope="module")
def instance_file(instance: InstanceGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(instance, INSTANCE, tmp_path_factory.mktemp("instance"))


def exported(graph: EvalGraph, specification: Specification, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an unexpected warning of the exporter is news
        write_onnx(graph, specification, folder / "model.onnx", OPSET)
    return folder / "model.onnx"


def test_a_graph_is_never_in_training_mode_and_leaves_the_networks_mode_alone(semantic: SemanticGraph) -> None:
    network = semantic.network
    network.train()
    network.encoder.bn1.eval()
    modes = [module.training for module in network.modules()]
    statistics = network.encoder.layer1[0].bn1.running_mean.clone()
    semantic.train()
    assert not semantic.training
    first, second = semantic.run(picture(20, 30)[None]), semantic.run(np.stack([picture(20, 30), picture(20, 30, seed=1)]))
    np.testing.assert_allclose(first["probabilities"][0], second["probabilities"][0], atol=1e-5)  # batch norm would tie the images together
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(network.encoder.layer1[0].bn1.running_mean, statistics)


def test_export_leaves_the_networks_mode_alone(semantic: SemanticGraph, tmp_path: Path) -> None:
    semantic.network.train()
    write_onnx(semantic, SEMANTIC, tmp_path / "a.onnx", OPSET)
    assert semantic.network.training
    assert not semantic.training
    assert [f.name for f in tmp_path.iterdir()] == ["a.onnx"]  # no weights beside it


def test_the_graph_holds_no_second_copy_of_the_preprocessing(semantic: SemanticGraph) -> None:
    assert not {"mean", "std"} & set(semantic.state_dict())


@pytest.mark.parametrize("size", SIZES)
def test_the_instance_graph_is_maskrcnns_own_forward(instance: InstanceGraph, size: tuple[int, int]) -> None:
    image = picture(*size)
    with evaluating(instance.network), torch.inference_mode():
        [theirs] = instance.network([torch.from_numpy(image).permute(2, 0, 1) / 255])
    [ours] = decode(INSTANCE, instance.run(image[None]), size)
    assert isinstance(ours, InstancePrediction)
    reference = InstancePrediction(theirs["scores"].numpy(), theirs["labels"].numpy(), theirs["boxes"].numpy(), theirs["masks"][:, 0].numpy() > 0.5)
    figures = disagreement(ours, reference)
    assert len(ours.scores) > 0
    assert figures["unmatched"] == 0
    assert figures["box_px"] < 1e-2
    assert figures["mask_iou_loss"] < 0.02


def test_onnx_equals_torch_at_several_sizes_in_one_session(semantic: SemanticGraph, semantic_file: Path) -> None:
    predictor = Predictor(semantic_file, threads=1)
    for size in SIZES:
        image = picture(*size)
        [ours] = decode(SEMANTIC, semantic.run(image[None]), size)
        theirs = predictor(image, probabilities=True)
        assert isinstance(theirs, SemanticPrediction)
        assert theirs.class_ids.shape == size
        assert theirs.class_ids.dtype == np.uint8
        assert theirs.probabilities is not None
        assert theirs.probabilities.shape == (len(CLASSES), *size)
        np.testing.assert_allclose(theirs.probabilities.sum(0), 1, atol=1e-5)
        figures = disagreement(ours, theirs)
        assert figures["differing_pixels"] < 0.005
        assert figures["probability"] < 1e-3


def test_a_network_input_that_is_no_multiple_of_the_stride(tmp_path: Path) -> None:
    specification = replace(SEMANTIC, image_size=(45, 70))
    torch.manual_seed(0)
    graph = SemanticGraph(semantic_networks.build("unet", encoder="resnet18", weights="none", channels=3, classes=len(CLASSES)), specification)
    predictor = Predictor(exported(graph, specification, tmp_path), threads=1)
    for size in SIZES[:3]:
        image = picture(*size)
        [ours] = decode(specification, graph.run(image[None]), size)
        assert disagreement(ours, predictor(image, probabilities=True))["probability"] < 1e-3


def test_semantic_batches_in_onnx(semantic_file: Path) -> None:
    predictor = Predictor(semantic_file, threads=1)
    images = [picture(40, 60, seed) for seed in range(3)]
    together = predictor.run(np.stack(images))
    assert together["class_ids"].shape == (3, 40, 60)
    for i, image in enumerate(images):
        np.testing.assert_allclose(together["probabilities"][i], predictor.run(image[None])["probabilities"][0], atol=1e-5)


def test_detections_in_onnx_equal_torch_at_several_sizes_in_one_session(instance: InstanceGraph, instance_file: Path) -> None:
    predictor = Predictor(instance_file, threads=1)
    predictions = predictor.predict([picture(*size) for size in SIZES])
    for size, theirs in zip(SIZES, predictions, strict=True):
        [ours] = decode(INSTANCE, instance.run(picture(*size)[None]), size)
        assert isinstance(theirs, InstancePrediction)
        assert theirs.masks.shape == (len(theirs.scores), *size)
        assert len(theirs.scores) > 0
        figures = disagreement(ours, theirs)
        assert figures["unmatched"] == 0
        assert figures["box_px"] < 1e-2
        assert figures["score"] < 1e-4


def test_images_without_detections(tmp_path: Path) -> None:
    graph = InstanceGraph(maskrcnn(0.9999), INSTANCE)
    predictor = Predictor(exported(graph, INSTANCE, tmp_path), threads=1)
    for size in SIZES[:3]:
        prediction = predictor(picture(*size))
        assert isinstance(prediction, InstancePrediction)
        assert prediction.boxes.shape == (0, 4)
        assert prediction.masks.shape == (0, *size)


def test_an_export_traced_without_detections_still_detects(tmp_path: Path) -> None:
    """The tracing example may show nothing to the network; the graph must not have learned that."""
    network = maskrcnn(0.0)
    graph = InstanceGraph(network, INSTANCE)
    rng = np.random.default_rng(0)
    example = rng.integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)  # what write_onnx traces with
    quiet = graph.run(example)["scores"].max()
    image = 255 * rng.integers(0, 2, (64, 96, 3), dtype=np.uint8)
    loud = graph.run(image[None])["scores"].max()
    assert loud > quiet + 1e-4
    network.roi_heads.score_thresh = float(quiet + loud) / 2
    assert len(graph.run(example)["scores"]) == 0
    predictor = Predictor(exported(graph, INSTANCE, tmp_path), threads=1)
    [ours] = decode(INSTANCE, graph.run(image[None]), (64, 96))
    theirs = predictor(image)
    assert isinstance(theirs, InstancePrediction)
    assert len(theirs.scores) > 0
    assert disagreement(ours, theirs)["unmatched"] == 0


def test_the_file_explains_itself(semantic_file: Path, instance_file: Path) -> None:
    model = onnx.load(semantic_file)
    assert {p.key: p.value for p in model.metadata_props}[METADATA_KEY] == SEMANTIC.to_json()
    assert "RGB, uint8" in model.graph.input[0].doc_string
    assert model.opset_import[0].version == OPSET
    assert [v.name for v in model.graph.input] == ["images"]
    assert [v.name for v in model.graph.output] == ["class_ids", "probabilities"]
    assert [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim][:3] == ["batch", "height", "width"]
    assert [v.name for v in onnx.load(instance_file).graph.output] == ["boxes", "labels", "scores", "masks"]
    assert Predictor(instance_file).specification == INSTANCE


def test_files_that_are_no_model_get_sentences(semantic_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model file"):
        Predictor(tmp_path / "none.onnx")
    for content in (b"", b"hello", semantic_file.read_bytes()[:5000]):
        (tmp_path / "broken.onnx").write_bytes(content)
        with pytest.raises(InputError, match=r"broken.onnx (is not a readable|carries no)"):
            Predictor(tmp_path / "broken.onnx")
    model = onnx.load(semantic_file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(InputError, match="carries no 'segline' metadata"):
        Predictor(tmp_path / "bare.onnx")


@pytest.mark.parametrize("image", [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 3)), np.zeros((0, 5, 3), np.uint8)])
def test_the_predictor_takes_rgb_bytes_alone(semantic_file: Path, image: np.ndarray) -> None:
    with pytest.raises(InputError, match="RGB"):
        Predictor(semantic_file, threads=1)(image)
