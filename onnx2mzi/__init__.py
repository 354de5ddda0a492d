"""onnx2mzi: from a trained neural network (ONNX) to a pruned coherent photonic chip."""

__version__ = "0.1.0"
