"""What a tool makes of a source, as JSON: for each image the masks of its objects, and which class is seen where. Needs numpy alone."""

import json
import sys
from pathlib import Path


def runs(mask):
    """Run lengths of a mask `(H, W)` row by row, beginning with what is not of it."""
    flat = mask.astype(bool).ravel().tolist()
    counts, value, length = [], False, 0
    for one in flat:
        if one != value:
            counts.append(length)
            value, length = one, 0
        length += 1
    return [*counts, length]


def place():
    """The source's folder, as the command names it."""
    return Path(sys.argv[1])


def tell(tool, images):
    """`images`: by stem the objects, (name, mask) in their order, and by name where a class is seen; write them to the file that the command names."""
    found = {}
    for stem, (objects, seen) in images.items():
        shown = None if seen is None else {name: runs(mask) for name, mask in sorted(seen.items()) if mask.any()}
        found[stem] = {"objects": [[name, runs(mask)] for name, mask in objects if mask.any()], "seen": shown}
    Path(sys.argv[2]).write_text(json.dumps({"tool": tool, "images": found}))
