"""Prepared data, or a folder in one of the formats, written in an open layout: `segline convert`."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from segline.data.check import check_root
from segline.data.convert import catalog
from segline.data.convert.base import ALL, Part
from segline.data.download import download
from segline.data.formats import catalog as formats
from segline.data.prepare import prepare
from segline.data.sources import Folder
from segline.data.store import SPLITS, TRUTHS, PreparedDataset
from segline.errors import DataError
from segline.files import whole

_PREPARED = "dataset.json"


def is_prepared(folder: Path) -> bool:
    """Whether a folder is what `prepare` writes."""
    return (folder / _PREPARED).is_file()


def convert_prepared(prepared: Path, word: str, target: Path, *, divided: bool = True) -> tuple[int, Counter[str]]:
    """Write `target` in the layout `word`: how many images there are, and what the layout cannot say, counted.

    divided: whether the splits stay; else all images are written as one.
    Raises DataError when the data lacks what the layout needs, or `target` is there already.
    """
    writer = catalog.get(word)
    data = PreparedDataset(prepared)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} is there already; give --out a folder that is not there yet.")
    if not any(data.info.has(truth) for truth in writer.needs):
        wanted = " or ".join(TRUTHS[truth] for truth in writer.needs)
        raise DataError(f"The layout {word} holds {wanted}, and the data set '{data.info.name}' has neither; convert it to another layout.")
    splits = {split: data.split(split, data.info.truths) for split in SPLITS if data.info.counts.get(split)}
    parts = [Part(name, (split,)) for name, split in splits.items()] if divided else [Part(ALL, tuple(splits.values()))]
    with whole(target) as folder:
        folder.mkdir()
        lost = writer.write(folder, parts, data.info.classes, data.info.truths)
    return sum(len(part) for part in parts), lost


def convert_source(settings: Folder, root: Path, word: str, target: Path) -> tuple[int, Counter[str]]:
    """Write `target` from a folder of annotated images, as `convert_prepared`. The splits are the source's own; without any, all images are written as one."""
    catalog.get(word)
    check_root(root)
    source = formats.get(settings.format).FORMAT.read(root, settings)
    divided = any(record.split is not None for record in source.records)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        raw, prepared = Path(folder, "raw"), Path(folder, "prepared")
        download(settings, root=root, seed=0, target=raw)
        prepare(settings, raw=raw, root=root, target=prepared)
        return convert_prepared(prepared, word, target, divided=divided)
