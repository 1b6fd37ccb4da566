"""The geometry of Labelbox' own SDK."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from labelbox.data.annotation_types import geometry
from result import place, tell

images = {}
for line in (place() / "export.ndjson").read_text().splitlines():
    row = json.loads(line)
    size = row["media_attributes"]["height"], row["media_attributes"]["width"]
    [project] = row["projects"].values()
    top, objects = np.full(size, -1), []
    for i, drawn in enumerate(project["labels"][0]["annotations"]["objects"]):
        if "polygon" in drawn:
            shape = geometry.Polygon(points=[geometry.Point(**point) for point in drawn["polygon"]])
        else:
            box = drawn["bounding_box"]
            shape = geometry.Rectangle.from_xyhw(x=box["left"], y=box["top"], h=box["height"], w=box["width"])
        mask = np.asarray(shape.draw(*size)).any(axis=2)
        objects.append((drawn["name"], mask))
        top[mask] = i
    seen = {}
    for i, (name, _) in enumerate(objects):
        seen[name] = seen.get(name, False) | (top == i)
    images[Path(row["data_row"]["external_id"]).stem] = objects, seen
tell(f"labelbox {version('labelbox')}", images)
