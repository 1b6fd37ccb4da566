"""labelme's `shapes_to_label`, by which its own examples export to VOC and COCO."""

import base64
import io
import json
from importlib.metadata import version

import numpy as np
from labelme.utils import shape
from PIL import Image
from result import place, tell

images = {}
for file in sorted(place().rglob("*.json")):
    content = json.loads(file.read_text())
    size = content["imageHeight"], content["imageWidth"]
    shapes = []
    for one in content["shapes"]:
        if one["shape_type"] == "mask":
            one["mask"] = np.array(Image.open(io.BytesIO(base64.b64decode(one["mask"]))), dtype=bool)
        shapes.append(one)
    names = {name: i for i, name in enumerate(["", *sorted({one["label"] for one in shapes})])}
    classes, _ = shape.shapes_to_label(size, shapes, names)
    parts = {}
    for i, one in enumerate(shapes):
        key = one["label"], i if one["group_id"] is None else f"group {one['group_id']}"
        alone = shape.shapes_to_label(size, [one], names)[0] > 0
        parts[key] = parts.get(key, False) | alone
    objects = [(label, mask) for (label, _), mask in parts.items()]
    images[file.stem] = objects, {name: classes == value for name, value in names.items() if value}
tell(f"labelme {version('labelme')}", images)
