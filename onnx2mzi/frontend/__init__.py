"""From an ONNX model to a program of linear layers and the electronic rest.

The only room, beside the ONNX back end, that imports `onnx`.
"""

from onnx2mzi.frontend.importer import import_model
from onnx2mzi.frontend.source import check_file

__all__ = ["check_file", "import_model"]
