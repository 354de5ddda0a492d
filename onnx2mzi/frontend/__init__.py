"""From an ONNX model to a program of linear layers and the electronic rest.

The only room, beside the ONNX back end, that imports `onnx`.
"""

from onnx2mzi.frontend.importer import import_model

__all__ = ["import_model"]
