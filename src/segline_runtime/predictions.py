"""The types of predictions in one place to import from."""

from segline_runtime.instance import InstancePrediction
from segline_runtime.multilabel import MultilabelPrediction
from segline_runtime.semantic import SemanticPrediction
from segline_runtime.task import Prediction

__all__ = ["InstancePrediction", "MultilabelPrediction", "Prediction", "SemanticPrediction"]
