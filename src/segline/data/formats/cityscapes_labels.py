"""The labels of Cityscapes (Cordts 2016), by the official table: KITTI's semantic masks use them, too."""

from __future__ import annotations

from segline.data.reading.labels import Label

_TRAINED = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain",
    23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
_OTHERS = {
    0: "unlabeled", 1: "ego vehicle", 2: "rectification border", 3: "out of roi", 4: "static", 5: "dynamic", 6: "ground", 9: "parking", 10: "rail track",
    14: "guard rail", 15: "bridge", 16: "tunnel", 18: "polegroup", 29: "caravan", 30: "trailer",
}  # fmt: skip
_FIRST_THING = 24

LABELS = tuple(Label(value, name, value >= _FIRST_THING) for value, name in sorted((_TRAINED | _OTHERS).items()))
"""By their value in `_labelIds.png`, 0 to 33; from `person` on, objects are told apart. `license plate` (-1) is drawn nowhere."""

CLASSES = tuple(_TRAINED.values())
"""The 19 that are trained and scored; their order is that of the official train ids."""
