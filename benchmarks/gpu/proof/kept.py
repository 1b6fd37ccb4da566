"""Trained weights for another machine: in half precision, in files of a size that travels, and back as a model folder."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import torch

from segline.layout import ModelFolder

_PIECE = "weights.fp16."


def keep(folder: ModelFolder, target: Path, mib: float) -> list[Path]:
    """Write card, history, trained_on.json and the weights of a model folder into `target`; no file is larger than `mib` MiB. The files."""
    state = torch.load(folder.weights, map_location="cpu", weights_only=True)
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    stream = io.BytesIO()
    torch.save(halves, stream)
    content, most = stream.getvalue(), int(mib * 2**20)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    files = []
    for file in (folder.card, folder.history, folder.trained_on):
        files.append(target / file.name)
        shutil.copyfile(file, files[-1])
    for number, start in enumerate(range(0, len(content), most)):
        files.append(target / f"{_PIECE}{number:02}")
        files[-1].write_bytes(content[start : start + most])
    return files


def restore(source: Path, models: Path) -> int:
    """Make `models/<name of source>` of what `keep` wrote into `source`. Exit code: 2 where there are no weights, or one of their pieces is missing."""
    pieces = sorted(source.glob(f"{_PIECE}*"))
    if not pieces or [piece.name for piece in pieces] != [f"{_PIECE}{number:02}" for number in range(len(pieces))]:
        print(f"error: {source} does not hold all of {_PIECE}00, {_PIECE}01, …; give a folder below kept/ of the results, with all its files.", file=sys.stderr)
        return 2
    try:
        state = torch.load(io.BytesIO(b"".join(piece.read_bytes() for piece in pieces)), map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise many kinds for what is cut off
        print(f"error: the pieces in {source} make no weights ({type(error).__name__}); copy them again, the last one too.", file=sys.stderr)
        return 2
    folder = ModelFolder(models / source.resolve().name)
    folder.path.mkdir(parents=True, exist_ok=True)
    torch.save({name: value.float() if value.is_floating_point() else value for name, value in state.items()}, folder.weights)
    for file in (folder.card, folder.history, folder.trained_on):
        shutil.copyfile(source / file.name, file)
    print(f"{folder.path} holds the trained model; with its parameters in params.yaml, `python pipeline/export.py {folder.name}` exports and proves it.")
    return 0
