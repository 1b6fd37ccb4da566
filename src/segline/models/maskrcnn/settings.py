"""The keys of `arch: maskrcnn`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from segline.models.settings import FitOrAuto, Input, Lessons, ModelSettings, Predict
from segline.settings import Count, OrAuto, Positive, Section, Undecided
from segline_runtime.specification import Fit


class Anchors(Section):
    """Anchor boxes: one size and the same ratios per pyramid level, finest level first."""

    sizes: list[Count] = [16, 32, 64, 128, 256]  # side of a square anchor, pixels of the network's input
    ratios: Annotated[list[Positive], Field(min_length=1)] = [0.5, 1.0, 2.0]  # height / width of the anchors

    @model_validator(mode="after")
    def _five_levels(self) -> Anchors:
        if len(self.sizes) != 5:
            raise ValueError(f"sizes has {len(self.sizes)} entries; the feature pyramid has 5 levels")
        return self


class UndecidedAnchors(Anchors, Undecided):
    """Those of the objects: the plan says which."""


class Proposals(Section):
    """Sizes of the region proposal network and of the box head (torchvision's names in brackets)."""

    train_before_nms: Count = 1000  # best proposals per pyramid level that go into NMS in training [rpn_pre_nms_top_n_train]
    train_after_nms: Count = 200  # proposals per image that it leaves [rpn_post_nms_top_n_train]
    test_before_nms: Count = 500  # as train_before_nms, for prediction [rpn_pre_nms_top_n_test]
    test_after_nms: Count = 100  # as train_after_nms, for prediction [rpn_post_nms_top_n_test]
    rpn_batch: Count = 128  # anchors sampled per image for the loss [rpn_batch_size_per_image]
    box_batch: Count = 64  # proposals sampled per image for the loss [box_batch_size_per_image]


class Detection(Predict):
    """Which detections are kept. Training validates with the defaults."""

    score_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.05  # detections below it are dropped
    nms_threshold: Annotated[float, Field(gt=0, le=1)] = 0.5  # box IoU above which the weaker of two detections is dropped
    max_detections: Count = 100  # the best of an image that are kept

    without_threshold: ClassVar[dict[str, float]] = {"score_threshold": 0.0}


class DetectorInput(Input):
    """As every model's input; a detector keeps the aspect ratio by default."""

    fit: FitOrAuto = "shorter_side"

    for_auto: ClassVar[tuple[Fit, ...]] = ("shorter_side",)


class Settings(ModelSettings):
    """Mask R-CNN (He 2017) with a feature pyramid, from torchvision."""

    task_of_arch: ClassVar[str] = "instance"
    lessons: ClassVar[Lessons] = Lessons(objects=10_500, most_epochs=80)
    largest_batch: ClassVar[int] = 4
    kept_bytes: ClassVar[int] = 450

    arch: Literal["maskrcnn"] = "maskrcnn"
    encoder: str = "resnet18"  # resnet18 … resnet152, mobilenet_v3_large, mobilenet_v3_small; with a feature pyramid
    weights: str = "none"  # imagenet, none, or the path of a state-dict file for the encoder
    norm: Literal["auto", "batch", "frozen", "group"] = "auto"  # auto: frozen where weights are pre-trained (batches are small), else batch
    fpn_channels: Count = 256  # of each level of the feature pyramid, the region proposal network and the mask head; fewer: faster, and enough for few classes
    anchors: Annotated[Anchors, OrAuto(UndecidedAnchors())] = Anchors()  # sizes and ratios; auto: of the training images' objects, as the network sees them
    proposals: Proposals = Proposals()
    input: DetectorInput = DetectorInput()
    predict: Detection = Detection()
