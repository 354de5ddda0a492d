"""What `onnx2mzi characterize` writes: numbers as JSON and CSV, and a page that shows them."""

from onnx2mzi.backends.characterization.numbers import devices_csv, numbers, points_csv
from onnx2mzi.backends.characterization.page import page

__all__ = ["devices_csv", "numbers", "page", "points_csv"]
