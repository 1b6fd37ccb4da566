"""What a registered model needs to predict: images in, masks out, on ONNX Runtime alone.

This package travels inside every registered model, so it imports numpy, Pillow and onnxruntime, and nothing of Segline or torch.
Segline itself uses it too, so that training, export, serving and `segline predict` cannot disagree.
"""
