"""Segline: a production line for image segmentation.

The packages follow the line: `data` → `models`, `losses`, `tasks`, `training` → `evaluation`, `metrics` → `export` → `tracking`, `registry`.
Nothing heavy is imported here.
"""
