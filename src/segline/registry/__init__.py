"""The warehouse: registered models in MLflow, their versions, aliases and tags. Rules about who may be promoted stand in `segline.promotion`.

version      what the registry says of a model's versions, and moving an alias
registering  from the model folder to a version
copies       registrations by experiments
packaging    an ONNX file as an MLflow model
artifacts    what is stored with a version, and comes back
receipt      `registered.json`
client       reaching the store

MLflow is imported inside functions, as in `segline.tracking`.

A version is found by its content (`segline.digest`, the hash of its model.onnx), so registering the same model twice makes one version.
What a version is worth stands in its tags (`Version` reads them), so that a table needs one question to the server and no run.
"""

from segline.registry.artifacts import onnx_file, trained_on
from segline.registry.packaging import REQUIREMENTS, save
from segline.registry.receipt import Receipt
from segline.registry.registering import fill, outdated, register, with_content, with_digest
from segline.registry.version import ALIASES, CANDIDATE, PRODUCTION, STAGING, Version, find, holder, move, names, require, resolve, versions

__all__ = [
    "ALIASES",
    "CANDIDATE",
    "PRODUCTION",
    "REQUIREMENTS",
    "STAGING",
    "Receipt",
    "Version",
    "fill",
    "find",
    "holder",
    "move",
    "names",
    "onnx_file",
    "outdated",
    "register",
    "require",
    "resolve",
    "save",
    "trained_on",
    "versions",
    "with_content",
    "with_digest",
]
