"""CVAT's files by Datumaro, by which CVAT itself exports masks: polygons and boxes by COCO's rule, in the order of z.

CVAT has a Datumaro of its own, which keeps points as double numbers of two digits; the one on PyPI rounds them to single ones, by which an edge that runs
through a pixel's middle falls to its other side, so that they are rounded again here. Datumaro does not know the files' ellipses: these are drawn as
CVAT's server does before it hands them to Datumaro, by OpenCV with whole middles and axes.
"""

import tempfile
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from datumaro import Dataset
from datumaro.components.annotation import AnnotationType
from datumaro.plugins.transforms import BoxesToMasks, PolygonsToMasks
from result import place, tell

images = {}
for file in sorted(place().glob("*.xml")):
    tree = ElementTree.parse(file)
    ellipses = {}
    for image in tree.getroot().iter("image"):
        for i, drawn in enumerate(list(image)):
            if drawn.tag == "ellipse":
                ellipses.setdefault(image.get("name"), []).append((i, dict(drawn.attrib)))
                image.remove(drawn)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "images").symlink_to(place() / "images")
        tree.write(Path(folder, "annotations.xml"))
        data = Dataset.import_from(folder, "cvat")
        names = [label.name for label in data.categories()[AnnotationType.label]]
        for item in data:
            height, width = item.media.size
            found = []
            for one in item.annotations:
                if one.type == AnnotationType.polygon:
                    one.points = [round(value, 2) for value in one.points]
                    one = PolygonsToMasks.convert_polygon(one, height, width)
                elif one.type == AnnotationType.bbox:
                    one = BoxesToMasks.convert_bbox(one, height, width)
                found.append((one.z_order, names[one.label], np.asarray(one.image, dtype=bool)))
            for i, drawn in ellipses.get(f"{item.id}.png", []):
                canvas = np.zeros((height, width), np.uint8)
                middle, axes = [(round(float(drawn[a])), round(float(drawn[b]))) for a, b in (("cx", "cy"), ("rx", "ry"))]
                cv2.ellipse(canvas, middle, axes, float(drawn.get("rotation", 0)), 0, 360, 255, thickness=-1)
                found.insert(i, (int(drawn["z_order"]), drawn["label"], canvas > 0))
            top = np.full((height, width), -1)
            for i in sorted(range(len(found)), key=lambda i: found[i][0]):
                top[found[i][2]] = i
            seen = {}
            for i, (_, name, _) in enumerate(found):
                seen[name] = seen.get(name, False) | (top == i)
            images[item.id] = [(name, mask) for _, name, mask in found], seen
tell(f"Datumaro {version('datumaro')} and OpenCV {cv2.__version__}", images)
