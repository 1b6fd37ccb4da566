"""What a registered model needs to predict: images in, masks out, on ONNX Runtime alone.

This package travels inside every registered model, so it imports numpy, Pillow and onnxruntime, and nothing of Segline or torch.
Segline itself uses it too, so that training, export, serving and `segline predict` cannot disagree.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at the import of onnxruntime: it would tell its makers what is run here, and keep an id in ~/.cache
