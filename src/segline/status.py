"""Whether the model folders, the tracking store and the registry agree, and what to do where they do not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segline import registry, tracking
from segline.card import ModelCard, members_that_changed
from segline.layout import ModelFolder
from segline.provenance import file_digest
from segline.registry import CANDIDATE, Receipt


@dataclass(frozen=True)
class Finding:
    """One model folder. `problems` pairs what is off with the command that puts it right."""

    model: str
    name: str | None  # in the registry
    version: int | None  # that holds the folder's content
    candidate: int | None
    problems: tuple[tuple[str, str], ...]


def model_folders(models: Path) -> list[ModelFolder]:
    """The folders below `models/` that hold a trained model."""
    folders = (ModelFolder(path) for path in sorted(models.iterdir())) if models.is_dir() else ()
    return [folder for folder in folders if folder.card.is_file()]


def compare(*, store: str, folders: list[ModelFolder]) -> list[Finding]:
    """Each folder against the store: its run, its version by content, its receipt, and who is `candidate`. Raises TrackingError."""
    findings = []
    for folder in folders:
        card = ModelCard.read(folder.card)
        problems = []
        if tracking.run_id(store, card.key, str(card.dataset["name"])) is None:
            problems.append(("the tracking store lacks its run", "segline sync"))
        changed = members_that_changed(card, folder.path.parent)
        if changed:
            problems.append((f"it was made of other weights of {', '.join(changed)}", f"dvc repro -f -s train@{folder.name}"))
        if not folder.onnx.is_file():
            findings.append(Finding(folder.name, None, None, None, (*problems, ("it is trained, but not exported", "dvc repro"))))
            continue
        receipt = Receipt.read(folder.receipt)
        digest = file_digest(folder.onnx)
        version = registry.with_digest(store=store, name=card.registered_name, digest=digest)
        candidate = registry.holder(store=store, name=card.registered_name, alias=CANDIDATE)
        again = f"dvc repro -f -s register@{folder.name}"
        if receipt is None:
            problems.append(("it has no receipt of a registration", f"dvc repro register@{folder.name}"))
        elif receipt.digest != digest:
            problems.append((f"its receipt (version {receipt.version}) is of another model.onnx", again))
        if version is not None and registry.outdated(version=version, folder=folder):
            problems.append((f"the registry's figures of version {version.number} are not those of this folder", again))
        if version is None:
            problems.append(("the registry has no version with its content", "segline sync"))
        elif candidate is None:
            problems.append(("no version is candidate", again))
        elif candidate.number != version.number:
            problems.append((f"candidate is version {candidate.number}, this folder holds version {version.number}", again))
        number, held = (found.number if found else None for found in (version, candidate))
        findings.append(Finding(folder.name, card.registered_name, number, held, tuple(problems)))
    return findings
