"""YOLO's files by supervision, which rounds corners to whole pixels and fills each pixel of the outline."""

from importlib.metadata import version
from pathlib import Path

import supervision
from result import place, tell

root = place()
images = {}
for split in ("train", "val"):
    data = supervision.DetectionDataset.from_yolo(str(root / "images" / split), str(root / "labels" / split), str(root / "data.yaml"), force_masks=True)
    for path, _, found in data:
        objects = [(data.classes[int(label)], mask) for label, mask in zip(found.class_id, found.mask if found.mask is not None else (), strict=True)]
        images[Path(path).stem] = objects, None
tell(f"supervision {version('supervision')}", images)
