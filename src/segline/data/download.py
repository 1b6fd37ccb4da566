"""download: `data/raw`, the manifest of what the line is fed with. Images of a folder stay where they are; generated ones lie beside the manifest."""

from __future__ import annotations

from pathlib import Path

from segline.data import shapes
from segline.data.check import check_root
from segline.data.formats import catalog
from segline.data.groups import group_files
from segline.data.manifest import Manifest
from segline.data.sources import SHAPES, Folder, Shapes, is_public
from segline.files import whole


def download(settings: Shapes | Folder, *, root: Path, seed: int, target: Path) -> None:
    """Write `target` (`data/raw`).

    Shapes are generated from `seed`, in the layout of `catalog.DEFAULT`; `root` has no meaning then.
    Of a folder, what its format reads below `root` is listed; a public data set has been fetched into one (`segline.data.public.fetch`).
    Raises DataError when the folder is missing, unreadable, without images, or in another layout.
    """
    with whole(target) as folder:
        folder.mkdir()
        if isinstance(settings, Shapes):
            shapes.generate(folder, {"train": settings.train, "val": settings.val, "test": settings.test}, settings.size, seed)
            made = catalog.generated(folder)
            Manifest.of(SHAPES, made.format, folder, catalog.get(made.format).FORMAT.files(folder, made)).write(folder)
        else:
            check_root(root)
            files = {*catalog.get(settings.format).FORMAT.files(root, settings), *group_files(root, settings.splits)}
            Manifest.of(settings.source if is_public(settings.source) else "folder", settings.format, root, sorted(files)).write(folder)
