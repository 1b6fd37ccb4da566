"""The GPU benchmark: one command, a process per part, a file per finding.

command    options, and the processes of the parts
settings   what a part is told: sizes, folders, device, tiny or not
findings   results of single steps, kept as they come, so that a second call goes on where the first ended
workspace  the line's stages in a folder, called as functions: no DVC, no logbook
stage      one training in a process of its own, to be killed, starved or doubled
works      part 1: what must be true of a training on this device
fast       part 2: images per second and memory, against the scripts in `plain`
clock      the steps that are timed
plain      the outside scripts: segmentation_models_pytorch with Lightning, torchvision's detection loop
learns     part 3: scores on real data
onnx_gpu   part 4: ONNX Runtime on the device
kept       trained weights in half precision, in pieces, and back
table      the report for people
carried    the bundle for a machine without network
"""
