"""Cityscapes' own scripts, which draw label ids and instance ids from polygons."""

import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import labels
from cityscapesscripts.preparation.json2instanceImg import json2instanceImg
from cityscapesscripts.preparation.json2labelImg import json2labelImg
from PIL import Image
from result import place, tell

by_id = {label.id: label for label in labels}
images = {}
for file in sorted(place().rglob("*_polygons.json")):
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "a.png")
        json2labelImg(str(file), str(target))
        seen = np.array(Image.open(target))
        json2instanceImg(str(file), str(target))
        numbers = np.array(Image.open(target))
    shown = {by_id[int(i)].name: seen == i for i in np.unique(seen) if 0 <= by_id[int(i)].trainId < 255}
    objects = []
    for number in np.unique(numbers).tolist():
        label = by_id[number // 1000 if number >= 1000 else number]
        if label.hasInstances and label.trainId < 255:
            objects.append((label.name, numbers == number))
    images[file.name.removesuffix("_gtFine_polygons.json") + "_leftImg8bit"] = objects, shown
tell(f"cityscapesScripts {version('cityscapesScripts')}", images)
