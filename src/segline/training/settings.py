"""The sections `train` and `augment` of a model in params.yaml, and the section `runtime`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_serializer, model_validator

from segline.settings import Count, Fraction, NotNegative, OrAuto, Positive, Section, UndecidedCount


class Transform(Section):
    """One random transform; written as albumentations' name over its arguments: `HorizontalFlip: {p: 0.5}`."""

    name: str
    arguments: dict[str, JsonValue] = {}

    @model_validator(mode="before")
    @classmethod
    def _one_name_over_its_arguments(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, dict) or len(value) != 1:
            raise ValueError("each entry is one transform's name over its arguments, as in `- HorizontalFlip: {p: 0.5}`")
        [(name, arguments)] = value.items()
        if arguments is not None and not isinstance(arguments, dict):
            raise ValueError(f"below {name!s:.80} stand its arguments by name, as in `- HorizontalFlip: {{p: 0.5}}`")
        return {"name": name, "arguments": {} if arguments is None else arguments}

    @model_serializer
    def _as_written(self) -> dict[str, dict[str, JsonValue]]:
        return {self.name: self.arguments}


REFUSED_TRANSFORMS = {
    **dict.fromkeys(
        ("Normalize", "ToFloat", "FromFloat", "ToTensorV2", "ToTensor3D"),
        "would scale the values a second time: they are made numbers by the data's scale and normalised by `input.mean` and `input.std` already",
    ),
    "Morphological": "grows the classes of higher numbers into those of lower ones, which makes wrong truth",
    "Lambda": "needs Python functions, which params.yaml cannot hold",
}
"""Transforms of albumentations that `augment` does not take, and why."""


class CopyPaste(Section):
    """Objects of another training image, pasted into this one (Ghiasi 2021). What they cover is no object any more; the data needs object masks."""

    p: Annotated[float, Field(ge=0, le=1)] = 0.5  # probability
    most: Annotated[int, Field(ge=1, le=1000)] = 10  # objects that are pasted at most; how many is drawn, from 1 on
    # factors between which the size of pasted objects is drawn: 1 is the size at which the network sees them in their own image
    scale: tuple[Annotated[float, Field(ge=0.05, le=8)], Annotated[float, Field(ge=0.05, le=8)]] = (0.5, 1.5)
    flip: bool = True  # whether half of them are mirrored, left to right

    @model_validator(mode="after")
    def _in_order(self) -> CopyPaste:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale is {list(self.scale)}; it is the smallest and the largest factor")
        return self


COPY_PASTE = "CopyPaste"
"""The transform that is no one's but ours."""

Factor = Annotated[float, Field(ge=0.25, le=4)]


class Train(Section):
    """How one model is trained."""

    epochs: Annotated[Count, OrAuto(UndecidedCount(30))] = Field(
        default=30,
        description="1 or more passes over the training images, or auto: the fewer, the more images there are; more for many classes",
    )
    batch_size: Annotated[Count, OrAuto(UndecidedCount(8))] = Field(
        default=8,
        description="1 or more images per step, over all processes (where a training runs does not change it), "
        "or auto: as many as serve inputs of that size, are there, and fit into memory_gb",
    )
    # GiB of the device on which `batch_size: auto` is to fit, of each where there are several; auto: of this machine, when the plan is made. A number decides
    # the same for everybody, and nothing else depends on it
    memory_gb: Positive | Literal["auto"] = Field(default=8.0, exclude=True)
    accumulate: Count = 1  # steps whose gradients are added before the optimiser moves
    optimizer: Literal["adamw", "sgd", "rmsprop"] = "adamw"  # sgd: with Nesterov's momentum
    lr: Positive = 1e-3  # peak learning rate
    momentum: Fraction = 0.9  # sgd only
    weight_decay: NotNegative = 1e-4  # of weights alone, not of biases and norms
    schedule: Literal["cosine", "poly", "exponential", "constant"] = "cosine"  # decay after the warm-up, by optimiser step; exponential: to a hundredth
    poly_power: Positive = 0.9  # of `schedule: poly`: (1 - share of the steps done) to this power; 1 is a straight line
    warmup: NotNegative = 1.0  # epochs of linear warm-up
    encoder_lr_factor: Positive = 1.0  # the encoder's learning rate is lr times this: below 1 where its weights are pre-trained
    freeze_encoder: NotNegative = 0.0  # epochs in which the encoder's weights and norm statistics stay as they are
    clip: NotNegative | None = None  # largest gradient norm
    early_stopping: Count | None = None  # validations without a better metric before the training stops
    validate_every: Count = 1  # epochs from one validation to the next, and the last one
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay of a moving average of the weights, per optimiser step, warmed up
    # smallest and largest factor of the size at which the images of a step are seen; one is drawn per step, for all of them. Crops grow and shrink with it
    multi_scale: tuple[Factor, Factor] | None = None
    uncropped: NotNegative = 0.0  # last epochs that see whole images in place of crops: a fine-tuning, for which a batch must still fit into memory
    # where random transforms are computed: loader: on the CPU, beside the training; device: where the training runs, as far as a transform can (the rest stays
    # in the loader), which is slower where that is a CPU; auto: device where a GPU trains. The same chances, and pixels that differ by interpolation
    augment_on: Literal["loader", "device", "auto"] = "loader"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: bf16 where the hardware has it, else fp32
    # blocks of the network keep their inputs alone and are computed again in the backward pass: less memory, more time
    checkpointing: bool = False
    channels_last: bool = True  # memory layout of tensors; faster on most hardware
    holdout: Annotated[float, Field(gt=0, lt=0.5)] = 0.1  # share of train that steers the training where `val` is what is scored at the end

    @model_validator(mode="after")
    def _scales_in_order(self) -> Train:
        if self.multi_scale is not None and self.multi_scale[0] > self.multi_scale[1]:
            raise ValueError(f"multi_scale is {list(self.multi_scale)}; it is the smallest and the largest factor")
        return self


LIGHTNING = frozenset({"benchmark", "default_root_dir", "detect_anomaly", "deterministic", "enable_progress_bar", "profiler"})
"""Arguments of lightning.Trainer that say how it runs, and not what comes out."""


class Runtime(Section):
    """Where a training runs. No result depends on it, so it is no DVC dependency and no part of any key."""

    accelerator: str = "auto"  # auto, cpu, gpu, mps, …: Lightning's names
    devices: int | Literal["auto"] = Field(default="auto", description="a number of devices, or auto")
    nodes: Count = 1  # machines
    strategy: str = "auto"  # auto, ddp, …: Lightning's names
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(default="auto", description="loader processes per training process, 0 or more, or auto")
    # GiB of the disk, of which 2 stay free, in which a training keeps images that it has decoded for its later epochs; auto: a quarter of the memory; 0: none
    decoded_gb: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    lightning: dict[str, Any] = {}  # further arguments of lightning.Trainer

    @model_validator(mode="after")
    def _changes_no_result(self) -> Runtime:
        wrong = sorted(set(self.lightning) - LIGHTNING)
        if wrong:
            raise ValueError(
                f"lightning.{wrong[0]} is none of the arguments that change no result ({', '.join(sorted(LIGHTNING))}); "
                "what decides a training stands in `train`"
            )
        return self
