"""Under which licences the code and the starting weights of a network stand, as far as somebody has declared it. What nobody declares is said to be unknown.

Of code the packages say it, and single files that stand under another licence than their package; of weights the library that offers them. Data has terms
of its own, that of ImageNet too: no licence of weights speaks of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import metadata

from torch import nn

from segline.models.encoders import IMAGENET, NONE
from segline.models.settings import Entry, ModelSettings

UNKNOWN = "unknown"

_SEGFORMER = "NVIDIA Source Code License for SegFormer (not for commercial use)"

OF_FILES: dict[str, str] = {
    "segmentation_models_pytorch.encoders.mix_transformer": _SEGFORMER,
    "segmentation_models_pytorch.encoders.mobileone": "Apple's licence of ml-mobileone",
}
"""Modules whose head names another licence than their package's."""

OF_WEIGHTS: dict[str, str] = {
    "mit_b": _SEGFORMER,
    "mobileone_": "Apple's licence of ml-mobileone",
}
"""Encoders of segmentation_models_pytorch, by how their names begin: the licence under which their authors published the weights."""

_EVERYWHERE = "torch"  # under its own licence, and no part of what makes one network another
_LONGEST = 60  # some packages write the whole text of their licence into that field


def of_code(network: nn.Module) -> str:
    """`MIT (segmentation_models_pytorch), Apache-2.0 (segline)`: of the packages and files that the network's modules come from."""
    found: dict[str, str] = {}
    for module in network.modules():
        place = type(module).__module__
        package = place.partition(".")[0]
        if place in OF_FILES:
            found[place.rpartition(".")[2]] = OF_FILES[place]
        elif package != _EVERYWHERE:
            found[package] = ""
    for name in found:
        found[name] = found[name] or _declared(name)
    return ", ".join(f"{licence} ({name})" for name, licence in sorted(found.items()))


def of_weights(settings: Entry, members: Iterable[Entry] = ()) -> str:
    """Of the weights that the training started from; of what is made of others, of all members'."""
    if isinstance(settings, ModelSettings):
        return _of_start(settings)
    return "; ".join(dict.fromkeys(of_weights(member) for member in members))


def _of_start(settings: ModelSettings) -> str:
    weights, encoder = (str(getattr(settings, name, NONE)) for name in ("weights", "encoder"))
    if weights == NONE:
        return "none needed: trained from scratch"
    if weights != IMAGENET:
        return f"{UNKNOWN}: those of the file {weights}"
    if encoder.startswith("tu-"):
        return _of_timm(encoder.removeprefix("tu-"))
    for beginning, licence in OF_WEIGHTS.items():
        if encoder.startswith(beginning):
            return licence
    return f"{UNKNOWN}: {_offered_by(settings, encoder)} declares none"


def _of_timm(name: str) -> str:
    import timm

    config = timm.get_pretrained_cfg(name)
    declared = None if config is None else config.license
    return f"{declared} (timm {name})" if declared and declared != UNKNOWN else f"{UNKNOWN}: timm declares none for {name}"


def _offered_by(settings: ModelSettings, encoder: str) -> str:
    """Who offers ImageNet's weights that are not timm's."""
    import segmentation_models_pytorch as smp

    if settings.task_of_arch == "semantic" and encoder in smp.encoders.encoders:
        record = smp.encoders.encoders[encoder].get("pretrained_settings", {}).get(IMAGENET, {})
        return f"huggingface.co/{record['repo_id']}" if "repo_id" in record else "segmentation_models_pytorch"
    return "torchvision"


def _declared(package: str) -> str:
    """The licence that an installed package names."""
    distributions: Sequence[str] = metadata.packages_distributions().get(package, (package,))
    try:
        about = metadata.metadata(distributions[0])
    except metadata.PackageNotFoundError:
        return UNKNOWN
    expression = next((about[field] for field in ("License-Expression", "License") if field in about), "")
    if expression and len(expression) <= _LONGEST and "\n" not in expression:
        return str(expression)
    classified = [line.rpartition("::")[2].strip() for line in about.get_all("Classifier") or () if line.startswith("License ::")]
    return " and ".join(classified) or UNKNOWN
